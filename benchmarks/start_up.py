"""What starting costs: `xinqiao --help`, `import xinqiao`, a chip from the cache, the first build.

    python benchmarks/start_up.py [--rounds N]

Medians over a bare interpreter (or over `import torch`), interleaved.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

PYTHON = sys.executable


def seconds(command: list[str], **environment: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
    return time.perf_counter() - start


def compare(name: str, target: float, rounds: int, base: list[str], command: list[str], **environment: str) -> None:
    seconds(command, **environment)
    pairs = [(seconds(base), seconds(command, **environment)) for _ in range(rounds)]
    added = statistics.median(b - a for a, b in pairs)
    print(f"{name}: {added:.3f} s more than {' '.join(base[1:])!r} (target {target})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    bare, torch = [PYTHON, "-c", "pass"], [PYTHON, "-c", "import torch"]
    compare("xinqiao --help", 0.15, rounds, bare, [PYTHON, "-m", "xinqiao.cli", "--help"])
    compare("import xinqiao", 0.1, rounds, bare, [PYTHON, "-c", "import xinqiao"])
    for chip in ("ascend-910c", "nvidia-h200"):
        compare(f"{chip} from the cache", 0.4, rounds, torch, torch, XINQIAO_CHIP=chip)
        with tempfile.TemporaryDirectory() as folder:
            built = seconds(torch, XINQIAO_CHIP=chip, XINQIAO_CACHE=folder) - seconds(torch)
        print(f"{chip} first build: {built:.1f} s (target 60)", flush=True)


if __name__ == "__main__":
    main()
