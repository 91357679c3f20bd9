"""Published packages from their source archives: what `port` finds in them, and whether the ports compute the same.

    python benchmarks/port_packages.py [NAME ...] [--no-programs] [--no-peers]

One row a package: lines, seconds of `port`, CUDA-bound places by an independent counter (port_counter.py) and how many
have a verdict, rewritten places and those left to a person, files that no longer parse, whether a second port changes
nothing, whether undo gives the archive back byte for byte, and whether the package's program (port_programs/) does the
same on a virtual H200 and, ported, on a virtual Ascend 910C. Beside it what PaConvert leaves behind on the same tree
(at most 120 s each) and what the unported program does on the 910C under two patches at run time (port_patches/).
Exits with 1 where a tree misses: a place without a verdict, a broken file, a difference.
"""

import argparse
import filecmp
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import port_counter
import port_peers
import port_runs
from port_sdists import Package, packages

CHIP, ORIGINAL_CHIP = "ascend-910c", "nvidia-h200"
COLUMNS = (
    ("package", 28), ("kind", 26), ("lines", 9), ("port s", 7), ("counted", 8), ("covered", 8), ("rewritten", 10),
    ("needs you", 10), ("broken", 7), ("again", 6), ("undo", 5), ("program", 9),
)  # fmt: skip
PEERS = (("PaConvert left", 15), ("broken", 7), ("s", 6), ("rename", 8), ("transfer", 9))


@dataclass
class Outcome:
    """What was measured of one package; `wrong` says in words what misses."""

    lines: int = 0
    seconds: float = 0.0
    counted: int = 0
    uncovered: list[port_counter.Place] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    again: bool = False
    undone: bool = False
    program: str = "-"
    wrong: list[str] = field(default_factory=list)


def measure(package: Package, folder: Path, *, programs: bool) -> Outcome:
    """Port a package and hold the result against its archive."""
    original, port, record = port_runs.lay_out(package, folder / "original"), folder / "port", folder / "port.json"
    begun = time.perf_counter()
    done = port_runs.xinqiao("port", original, "--chip", CHIP, "--out", port, "--record", record)
    outcome = Outcome(seconds=time.perf_counter() - begun)
    if done.returncode not in (0, 1) or not record.exists():
        outcome.wrong.append(f"port failed: {done.stderr[-500:]}")
        return outcome
    found = json.loads(record.read_text())
    outcome.lines = found.get("lines") or found["summary"]["lines"]
    outcome.verdicts = Counter(o["verdict"] for o in found["occurrences"])
    covered, outcome.uncovered = port_counter.covered(port_counter.count(original), record)
    outcome.counted = len(covered) + len(outcome.uncovered)
    outcome.broken = port_peers.broken(original, port)
    outcome.again = not port_runs.xinqiao("port", port, "--chip", CHIP, "--diff").stdout
    back = shutil.copytree(port, folder / "back", symlinks=True)
    port_runs.xinqiao("undo", back)
    outcome.undone = same_files(original, back)
    if programs and package.program:  # last: it may write into both trees
        outcome.program = compare(package, original, port, outcome.wrong)
    outcome.wrong += [f"no verdict: {p.file}:{p.line}: {p.what}" for p in outcome.uncovered]
    outcome.wrong += [f"no longer parses: {name}" for name in outcome.broken]
    outcome.wrong += [] if outcome.again else ["a second port changes something"]
    outcome.wrong += [] if outcome.undone else ["undo does not give the archive back"]
    return outcome


def compare(package: Package, original: Path, port: Path, wrong: list[str]) -> str:
    """The word of `xinqiao prove` on the package's program, which must have computed on the chip."""
    verdict, why, calls = port_runs.prove(package, original, port, CHIP)
    wrong += [f"prove: {verdict}: {why}"] if verdict != "same" else []
    wrong += ["prove: no call on the chip"] if verdict == "same" and not calls else []
    return verdict


def same_files(one: Path, other: Path) -> bool:
    """Whether two trees hold the same files with the same bytes; what a port leaves out of a copy, left out."""
    names = sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file())
    expected = sorted(
        p.relative_to(one) for p in one.rglob("*") if p.is_file() and not {".git", "__pycache__"} & {*p.parts}
    )
    return names == expected and not any(not filecmp.cmp(one / n, other / n, shallow=False) for n in names)


def peers(package: Package, folder: Path, *, programs: bool) -> list[str]:
    """The row's right half."""
    original = folder / "original"
    done = port_peers.paconvert(original, folder / "paconvert")
    words = [f"{done.left} {done.end}".strip(), f"{done.broken}", f"{done.seconds:.1f}"]
    for patch in port_peers.PATCHES:
        if not (programs and package.program):
            words.append("-")
            continue
        before = port_runs.run(package, original, ORIGINAL_CHIP)
        after = port_runs.run(package, original, CHIP, patch)
        words.append("fails" if after.error else "same" if before.printed == after.printed else "differs")
    return words


def row(package: Package, outcome: Outcome) -> list[str]:
    counted = outcome.counted
    percent = 100 * (1 - len(outcome.uncovered) / counted) if counted else 100
    left = outcome.verdicts["needs-you"] + outcome.verdicts["refused-by-chip"]
    return [
        package.name, package.kind, f"{outcome.lines:,}", f"{outcome.seconds:.1f}", f"{counted}", f"{percent:.1f} %",
        f"{outcome.verdicts['rewritten']}", f"{left}", f"{len(outcome.broken)}", "same" if outcome.again else "CHANGES",
        "same" if outcome.undone else "DIFFERS", outcome.program,
    ]  # fmt: skip


def show(words: list[str], columns: tuple[tuple[str, int], ...]) -> None:
    cells = (
        w.ljust(width) if i < 2 else w.rjust(width)
        for i, (w, (_, width)) in enumerate(zip(words, columns, strict=True))
    )
    print(" ".join(cells), flush=True)


def chosen(names: list[str]) -> list[Package]:
    known = {p.name: p for p in packages()}
    unknown = sorted(set(names) - {*known, "small"})
    if unknown:
        sys.exit(f"no package {unknown[0]!r} in packages.toml; it has {', '.join(known)}")
    return [p for p in known.values() if not names or p.name in names or (p.small and "small" in names)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="packages of packages.toml, or 'small' for the tests' set"
    )
    parser.add_argument("--no-programs", dest="programs", action="store_false")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    options = parser.parse_args()
    columns = COLUMNS + (PEERS if options.peers else ())
    show([name for name, _ in columns], columns)
    missed: dict[str, list[str]] = {}
    for package in chosen(options.names):
        with tempfile.TemporaryDirectory() as name:
            outcome = measure(package, Path(name), programs=options.programs)
            more = peers(package, Path(name), programs=options.programs) if options.peers else []
        show(row(package, outcome) + more, columns)
        if outcome.wrong:
            missed[package.name] = outcome.wrong
    for package_name, wrong in missed.items():
        print(f"\n{package_name}", *wrong, sep="\n  ")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
