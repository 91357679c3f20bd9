"""Run the original and the port, and say whether they compute the same, and where they part if not."""

import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from xinqiao.chips.catalog import ORIGIN
from xinqiao.errors import InputError
from xinqiao.prove.lines import Lines
from xinqiao.prove.proof import prove_records
from xinqiao.prove.runs import Program, Tree, run
from xinqiao.record.files import read
from xinqiao.record.schema import ProofRecord, RunRecord

__all__ = ["Program", "prove", "prove_files"]


def prove(
    original: Path, port: Path, program: Program, *, chip: str, from_chip: str | None = None, out: Path | None = None
) -> ProofRecord:
    """Run the original on a virtual `from_chip` and the port on `chip`, and compare.

    from_chip   None: the one that code usually comes from
    out         a folder for the records and logs of both runs; None: they are not kept
    InputError where a folder or the script is missing, or the original itself fails.
    """
    begun = time.monotonic()
    for tree in (original, port):
        if not (tree / program.script).is_file():
            raise InputError(f"{tree / program.script}: no such script; SCRIPT is relative to ORIGINAL and to PORT")
    lines = Lines(original, port)
    watched: dict[str, list[int]] = {}
    for statement in lines.changed():
        watched.setdefault(statement.file, []).extend(range(statement.first, statement.last + 1))
    with nullcontext(str(out)) if out else tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / name for name in ("original.json", "port.json")]
        before = run(Tree(original, from_chip or ORIGIN, files[0]), program)
        failed = next((r for r in before if r.exit_code), None)
        if failed is not None:
            failure = failed.evidence.failure if failed.evidence else None
            said = f"{failure.kind}: {failure.message.strip()[:200]}" if failure else f"exit code {failed.exit_code}"
            raise InputError(f"{original}: the original itself fails on {failed.title}: {said}".replace("\n", " "))
        after = run(Tree(port, chip, files[1], watched), program)
    return prove_records(before, after, lines, wall_seconds=time.monotonic() - begun)


def prove_files(original: Path, port: Path) -> ProofRecord:
    """Compare two records from anywhere, such as a real chip's with a virtual one's."""
    begun = time.monotonic()
    records = [read(path) for path in (original, port)]
    runs = [r for r in records if isinstance(r, RunRecord)]
    if len(runs) != 2:
        raise InputError(f"{original}, {port}: both must be records of runs")
    return prove_records(runs[:1], runs[1:], Lines(None, None), wall_seconds=time.monotonic() - begun)
