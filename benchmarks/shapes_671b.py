"""A training step of 671.0 billion parameters in shapes mode, on a chip of unlimited memory and on the real one.

    python benchmarks/shapes_671b.py [--chip NAME ...]

Prints for each chip the seconds of the whole process (target 15), its memory (target 1 GB), whether the device's peak
is the byte count that the example derives, and where the real chip runs out of memory. Exits with 1 if one fails.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "examples" / "deepseek_v3" / "train_step.py"
SECONDS, GIGABYTES = 15, 1.0
UNLIMITED = """base = "{base}"
title = "{base} of unlimited memory"
[memory]
capacity = {{ confidence = "unknown", note = "left out: how much would it take?" }}
"""


def run(chip: str) -> tuple[subprocess.CompletedProcess[str], float]:
    command = [sys.executable, "-m", "xinqiao.cli", "run", "--chip", chip, "--shapes", "--", str(EXAMPLE)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, time.perf_counter() - start


def unlimited(base: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        chip = Path(folder) / "unlimited.toml"
        chip.write_text(UNLIMITED.format(base=base))
        done, seconds = run(str(chip))
    if done.returncode:
        print(done.stderr)
        return False
    found = re.search(r"parameters ([\d,]+)\npeak ([\d,]+) bytes\nexpected .* (exact|off by \S+)\n", done.stdout)
    process = re.search(r"process ([\d.]+) GB", done.stdout)
    if not found or not process:
        print(done.stdout)
        return False
    parameters, peak, match = found.groups()
    print(f"  {parameters} parameters, peak {peak} bytes: {match}")
    print(f"  {seconds:.1f} s (target {SECONDS}), {process[1]} GB (target {GIGABYTES:g})")
    return match == "exact" and seconds <= SECONDS and float(process[1]) <= GIGABYTES


def limited(chip: str) -> bool:
    done, _ = run(chip)
    at = re.search(r"OutOfMemoryError: (.*?of which .*? is free)", done.stderr)
    in_construction = "model = DeepSeekV3" in done.stderr and "parameters" not in done.stdout
    print(f"  as sold: {at[1] if at else 'no OutOfMemoryError'}{', while it is built' if in_construction else ''}")
    return bool(at) and in_construction


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chip", nargs="+", default=["nvidia-h100", "ascend-910c"], help="without a base of their own")
    passed = []
    for chip in parser.parse_args().chip:
        print(chip)
        passed += [unlimited(chip), limited(chip)]
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
