"""What keeping a proof's evidence costs: a GPT's training step with it and without, in processes that take turns.

    python benchmarks/prove_overhead.py [--chip NAME] [--rounds N]

Prints the median processor seconds per step of each and their ratio, at three widths (4 layers, 128 tokens, batch 8,
AdamW, one thread). With evidence, every call is fingerprinted, and every module's inputs, outputs and gradients are
hashed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xinqiao.device.request import Request, ask
from xinqiao.device.settings import Settings

HERE = Path(__file__).parent
WIDTHS = (64, 128, 256)
STEPS = 8
TARGET = 1.3


def child(chip_device: str) -> None:
    import torch
    from training_step import step_of

    torch.set_num_threads(1)
    found = {}
    for width in WIDTHS:
        step = step_of(width, chip_device)
        step()
        begun = time.process_time()  # this process's own time: another program on the machine does not count
        for _ in range(STEPS):
            step()
        found[width] = (time.process_time() - begun) / STEPS
    print(json.dumps(found))


def run(chip: str, device: str, *, evidence: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "run.json"
        if evidence:
            ask(record, Request(root=str(HERE)))
        environment = Settings(chip, record=record).environment()
        command = [sys.executable, __file__, "--child", device]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chip", default="ascend-910c")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", metavar="DEVICE")
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    from xinqiao.chips import catalog

    device = catalog.load(options.chip).torch.device
    pairs = [(run(options.chip, device, evidence=False), run(options.chip, device, evidence=True))
             for _ in range(options.rounds)]  # fmt: skip
    for width in map(str, WIDTHS):
        plain, kept = (statistics.median(side[width] for side in sides) for sides in zip(*pairs, strict=True))
        ratio = statistics.median(b[width] / a[width] for a, b in pairs)
        print(
            f"d={width}: {plain * 1e3:.1f} ms, with evidence {kept * 1e3:.1f} ms, ratio {ratio:.3f} (target {TARGET})"
        )


if __name__ == "__main__":
    main()
