"""A GPT's training step on a virtual chip against plain CPU, in one process, interleaved.

    python benchmarks/training_step.py [--chip NAME] [--rounds N] [--record]

Prints the median seconds of each and their ratio: 4 layers, 128 tokens, batch 8, AdamW, one thread.
"""

import argparse
import statistics
import time

import torch
from gpt import GPT

from xinqiao.device.session import keep_record, virtual


def step_of(width: int, device: str):
    torch.manual_seed(0)
    model = GPT(width).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=False)
    ids = torch.randint(256, (8, 129)).to(device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = model(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def seconds(step, steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chip", default="ascend-910c")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--record", action="store_true", help="with what a record needs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    session = virtual(options.chip)
    if options.record:
        keep_record(session)
    device = session.chip.torch.device
    for width, target in ((128, 1.25), (256, 1.12)):
        host, chip = step_of(width, "cpu"), step_of(width, device)
        seconds(host, 2), seconds(chip, 2)
        pairs = [(seconds(host, options.steps), seconds(chip, options.steps)) for _ in range(options.rounds)]
        a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(y / x for x, y in pairs)
        print(
            f"d={width}: CPU {a * 1e3:.1f} ms, virtual {b * 1e3:.1f} ms, ratio {ratio:.3f} (target {target})",
            flush=True,
        )


if __name__ == "__main__":
    main()
