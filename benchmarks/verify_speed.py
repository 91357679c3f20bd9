"""Gigabytes per second at which `xinqiao verify` reads a converted checkpoint again.

    python benchmarks/verify_speed.py [--gigabytes 4] [--rounds N]

A Llama-shaped bf16 checkpoint converted to FP8, in the page cache. A run is a whole process; the shortest counts. Bytes
are those of the result and, with --source, of the source too, whose every value is compared. The target: 2 GB/s on two
processors.
"""

import argparse
import tempfile
from pathlib import Path

from checkpoints import XINQIAO, measured, synthetic, tensor_bytes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name, "source"), Path(name, "out")
        synthetic(source, options.gigabytes)
        measured([*XINQIAO, "convert", source, "--to", "fp8-ue8m0", "--out", out], 2)
        ways = {"verify DIR": ([], tensor_bytes(out))}
        ways["verify DIR --source MODEL"] = (["--source", source], tensor_bytes(out) + tensor_bytes(source))
        for title, (extra, nbytes) in ways.items():
            for threads in (1, 2):
                runs = [measured([*XINQIAO, "verify", out, *extra], threads) for _ in range(options.rounds)]
                taken, worked = min(r.seconds for r in runs), min(r.processor for r in runs)
                print(
                    f"{title:26} {threads} thread{'s' * (threads > 1):1}: {nbytes / taken / 1e9:5.2f} GB/s, "
                    f"{taken:.2f} s, {worked:.2f} processor seconds for {nbytes / 1e9:.1f} GB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
