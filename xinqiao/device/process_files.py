"""Where the ranks of one run write."""

from pathlib import Path


def ranked(path: Path, rank: int) -> Path:
    """The file of one rank: 'run.json' for the first, 'run.rank1.json' for the next."""
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}") if rank else path
