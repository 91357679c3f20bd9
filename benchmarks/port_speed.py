"""Lines per second of `port --check` over a tree where one file in ten is CUDA-bound.

    python benchmarks/port_speed.py [--files N] [--rounds N]

The tree is the example project's files beside the standard library's; medians of whole analyses in one process.
"""

import argparse
import shutil
import statistics
import sysconfig
import tempfile
import time
from pathlib import Path

from xinqiao.chips import catalog
from xinqiao.port import Target, check

EXAMPLE = Path(__file__).parents[1] / "examples" / "gpt-cuda"


def make_tree(folder: Path, files: int) -> None:
    bound = sorted(EXAMPLE.glob("*.py"))
    plain = sorted(p for p in Path(sysconfig.get_paths()["stdlib"]).glob("*.py") if b"cuda" not in p.read_bytes())
    for i in range(files):
        source = bound[i // 10 % len(bound)] if i % 10 == 0 else plain[i % len(plain)]
        shutil.copy(source, folder / f"m{i:05d}.py")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    chip = Target(catalog.load("ascend-910c"))
    with tempfile.TemporaryDirectory() as name:
        make_tree(Path(name), options.files)
        check(Path(name), chip)
        rates = []
        for _ in range(options.rounds):
            begun = time.perf_counter()
            record = check(Path(name), chip)
            rates.append(record.summary.lines / (time.perf_counter() - begun))
    places = len(record.occurrences)
    print(
        f"{record.summary.lines} lines in {record.summary.files} files, {places} places: "
        f"{statistics.median(rates):,.0f} lines per second (target 20,000)"
    )


if __name__ == "__main__":
    main()
