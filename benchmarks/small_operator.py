"""What the virtual chip adds to one small operator: `add` of 16 elements, against plain CPU, interleaved.

python benchmarks/small_operator.py [--chip NAME] [--rounds N]
"""

import argparse
import statistics
import time

import torch

from xinqiao.device.session import virtual

CALLS = 5000


def microseconds(x: torch.Tensor, y: torch.Tensor) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        x + y
    return (time.perf_counter() - start) / CALLS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chip", default="ascend-910c")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = virtual(options.chip).chip.torch.device
    host = torch.ones(16), torch.ones(16)
    chip = tuple(t.to(device) for t in host)
    microseconds(*host), microseconds(*chip)
    pairs = [(microseconds(*host), microseconds(*chip)) for _ in range(options.rounds)]
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    added = statistics.median(y - x for x, y in pairs)
    print(f"add of 16: CPU {a:.2f} us, virtual {b:.2f} us, added {added:.2f} us (target 1.5)")


if __name__ == "__main__":
    main()
