"""Run the original and the port, and say whether they compute the same, and where they part if not."""

import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from xinqiao.chips.catalog import ORIGIN
from xinqiao.errors import InputError
from xinqiao.prove.lines import Lines
from xinqiao.prove.proof import prove_records
from xinqiao.prove.runs import Program, Tree, run
from xinqiao.prove.whole import add_whole
from xinqiao.record.files import KEPT, PROOF, read, write
from xinqiao.record.schema import ProofRecord, RunRecord

__all__ = ["Chips", "Program", "prove", "prove_files"]


class Chips(NamedTuple):
    """Names of the chips that the port and the original run on."""

    port: str
    original: str = ORIGIN


def prove(
    original: Path, port: Path, program: Program, chips: Chips, *, out: Path | None = None, whole: bool = False
) -> ProofRecord:
    """Run the original and the port, each on its virtual chip, and compare.

    out     a folder for the records and logs of both runs, and the proof; None: they are not kept
    whole   where values part, run both once more and compare the whole tensors around the first difference
    InputError where a folder or the script is missing, or the original itself fails.
    """
    begun = time.monotonic()
    for tree in (original, port):
        if not (tree / program.script).is_file():
            raise InputError(f"{tree / program.script}: no such script; SCRIPT is relative to ORIGINAL and to PORT")
    lines = Lines(original, port)
    with nullcontext(str(out)) if out else tempfile.TemporaryDirectory() as name:
        folder = _emptied(Path(name).resolve())
        before = Tree(original, chips.original, folder / "original.json")
        after = Tree(port, chips.port, folder / "port.json", lines.watched())
        originals = run(before, program)
        _check_original(original, originals)
        proof = prove_records(originals, run(after, program), lines, wall_seconds=time.monotonic() - begun)
        if whole:
            add_whole(proof, before, after, program)
    if out:
        write(proof, out / PROOF)
    return proof


def _emptied(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in [path for pattern in KEPT for path in folder.glob(pattern)]:
        earlier.unlink()  # of a proof with more ranks, perhaps
    return folder


def _check_original(folder: Path, runs: list[RunRecord]) -> None:
    failed = next((r for r in runs if r.exit_code), None)
    if failed is None:
        return
    failure = failed.evidence.failure if failed.evidence else None
    said = f"{failure.kind}: {failure.message.strip()[:200]}" if failure else f"exit code {failed.exit_code}"
    raise InputError(f"{folder}: the original itself fails on {failed.title}: {said}".replace("\n", " "))


def prove_files(original: Path, port: Path, *, out: Path | None = None) -> ProofRecord:
    """Compare two records from anywhere, such as a real chip's with a virtual one's. out: a folder for the proof."""
    begun = time.monotonic()
    records = [read(path) for path in (original, port)]
    runs = [r for r in records if isinstance(r, RunRecord)]
    if len(runs) != 2:
        raise InputError(f"{original}, {port}: both must be records of runs")
    proof = prove_records(runs[:1], runs[1:], Lines(None, None), wall_seconds=time.monotonic() - begun)
    if out:
        write(proof, out / PROOF)
    return proof
