"""One training step of DeepSeek-V3's shape: 671.0 billion parameters on one device. No such device exists yet.

    xinqiao run --chip NAME --shapes -- train_step.py
    python train_step.py --small --steps 20               # small enough to compute, on any device

Prints the number of parameters, seconds, this process's memory, and the device's peak in the first step beside the peak
that it must be (with so many weights; a small model's peak is that of its activations).
"""

import argparse
import resource
import sys
import time

import torch
from torch import Tensor

from model import Config, DeepSeekV3

SMALL = Config(vocabulary=512, hidden=64, layers=3, dense_layers=1, dense_width=128, heads=4, q_rank=32, kv_rank=16,
               nope=16, rope=8, value=16, experts=16, top_k=4, expert_width=32)  # fmt: skip
ROUND = 512  # bytes: an allocation on the device takes a multiple of this


def tokens(c: Config, length: int, device: torch.device) -> Tensor:
    """A fixed sequence, (1, length + 1)."""
    return (torch.arange(length + 1, device=device) * 37 % c.vocabulary).unsqueeze(0)


def allocated(elements: int, size: int) -> int:
    """Bytes that the device gives for `elements` of `size` bytes."""
    return -(-elements * size // ROUND) * ROUND


def expected_peak(model: DeepSeekV3, length: int) -> int:
    """Bytes alive when the optimizer steps: then the gradients are complete and the moments are there too."""
    weights = sum(allocated(p.numel(), p.element_size()) for p in model.parameters())
    counts = sum(allocated(1, 4) for _ in model.parameters())  # the fused optimizer's step, float32 on the device
    tables = sum(allocated(b.numel(), b.element_size()) for b in model.buffers())  # of the rotary position
    ids, loss = allocated(length + 1, 8), allocated(1, 4)
    return 4 * weights + counts + tables + ids + loss  # weights, gradients, first and second moments


def resident() -> float:
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--length", type=int, default=4096, help="tokens; a multiple of 32")
    options = parser.parse_args()
    start = time.perf_counter()
    torch.manual_seed(0)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    config = SMALL if options.small else Config()

    torch.set_default_dtype(torch.bfloat16)
    with device:
        model = DeepSeekV3(config, options.length)
    print(f"parameters {sum(p.numel() for p in model.parameters()):,}", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3 if options.small else 2e-4, fused=True)
    sequence = tokens(config, options.length, device)
    for step in range(options.steps):
        loss = model(sequence[:, :-1], sequence[:, 1:])
        loss.backward()
        optimizer.step()
        if step == 0 and device.type != "cpu":
            peak, expected = torch.accelerator.max_memory_allocated(), expected_peak(model, options.length)
            print(f"peak {peak:,} bytes")
            print(f"expected {expected:,} bytes, {'exact' if peak == expected else f'off by {peak - expected:,}'}")
        optimizer.zero_grad(set_to_none=True)
        print(f"step {step} loss {loss.item():.4f}")
    print(f"seconds {time.perf_counter() - start:.1f}")
    print(f"process {resident():.2f} GB")


if __name__ == "__main__":
    main()
