"""What others do with the same trees: PaConvert from PyPI, and two patches at run time."""

import shutil
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from port_counter import count
from port_sdists import CACHE

PACONVERT = "3.3.1"
SECONDS = 120
PATCHES = ("rename", "transfer")


@dataclass(frozen=True)
class Converted:
    """What PaConvert made of a tree.

    left    places that are still there; a file that does not parse is one
    broken  files that parsed before
    end     'cut' where its time was up, 'crashed' where it left with an error, else ''
    """

    left: int
    broken: int
    seconds: float
    end: str


def paconvert(tree: Path, out: Path) -> Converted:
    """PaConvert over a copy of a tree, given 120 seconds."""
    begun = time.perf_counter()
    command = [_paconvert(), "--in_dir", tree, "--out_dir", out, "--log_dir", out.with_suffix(".log")]
    end = ""
    try:
        done = subprocess.run(
            list(map(str, command)), cwd=out.parent, capture_output=True, timeout=SECONDS, check=False
        )
        end = "crashed" if done.returncode else ""
    except subprocess.TimeoutExpired:
        end = "cut"
    seconds = time.perf_counter() - begun
    return Converted(len(count(out)) if out.exists() else 0, len(broken(tree, out)), seconds, end)


def broken(before: Path, after: Path) -> list[str]:
    """Python files that compile in one tree and not in the other."""
    names = (p.relative_to(before) for p in sorted(before.rglob("*.py")) if p.is_file())
    pairs = ((n, before / n, after / n) for n in names if (after / n).is_file())
    return [n.as_posix() for n, a, b in pairs if a.read_bytes() != b.read_bytes() and compiles(a) and not compiles(b)]


def compiles(path: Path) -> bool:
    """Whether Python accepts a file; nothing of it runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError):
            return False
    return True


def _paconvert() -> Path:
    folder = CACHE / f"paconvert-{PACONVERT}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [folder / "bin" / "python", "-m", "pip", "install", "-qq", f"paconvert=={PACONVERT}"]
        subprocess.run(list(map(str, install)), check=True)
        (folder / "ready").touch()
    return folder / "bin" / "paconvert"
