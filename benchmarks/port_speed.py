"""Seconds and memory of `xinqiao port --check` on 15,000 and on 150,000 lines where one file in three is CUDA-bound.

    python benchmarks/port_speed.py [--rounds N]

The tree is the example project's files beside the standard library's. Each round is a process of its own; seconds are
the median, memory is the highest sum over it and its workers, read from /proc every 20 ms (pages that they share count
once for each).
"""

import argparse
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "gpt-cuda"
TARGETS = {15_000: (5, None), 150_000: (30, 500)}  # lines → seconds, MB


def make_tree(folder: Path, lines: int) -> int:
    """Files until there are so many lines; returns how many lines there are."""
    bound = sorted(EXAMPLE.glob("*.py"))
    plain = sorted(p for p in Path(sysconfig.get_paths()["stdlib"]).glob("*.py") if b"cuda" not in p.read_bytes())
    written = number = 0
    while written < lines:
        sources = bound if number % 3 == 0 else plain
        text = sources[number // 3 % len(sources)].read_bytes()
        if number % 3:
            text += b"\n# torch\n"  # so that it is read for what it tells the others
        folder.joinpath(f"m{number:05d}.py").write_bytes(text)
        written += text.count(b"\n")
        number += 1
    return written


def measure(folder: Path) -> tuple[float, float]:
    """(seconds, MB) of one run."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "xinqiao.cli", "port", str(folder), "--chip", "ascend-910c", "--check"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(resident(pid) for pid in family(process.pid)))
        time.sleep(0.02)
    return time.perf_counter() - begun, peak


def family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(p for child in children for p in family(int(child)))]


def resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for size, (seconds, megabytes) in TARGETS.items():
        with tempfile.TemporaryDirectory() as name:
            lines = make_tree(Path(name), size)
            runs = [measure(Path(name)) for _ in range(options.rounds)]
        limit = f"target {seconds} s" + (f", {megabytes} MB" if megabytes else "")
        taken, peak = statistics.median(r[0] for r in runs), max(r[1] for r in runs)
        print(f"{lines:,} lines: {taken:.2f} s, {peak:.0f} MB at most ({limit}); {lines / taken:,.0f} lines per second")


if __name__ == "__main__":
    main()
