"""One training step of a model of DeepSeek-V3's shape, all on one device.

    xinqiao run --chip YOUR_CHIP.toml --shapes -- train_step.py

671 billion parameters in bf16 are 1.34 TB, and a step with AdamW needs four times that, so this is for shapes mode.
"""

import argparse
import resource
import time

import torch

from model import Config, DeepSeekV3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=61)
    parser.add_argument("--experts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--device", default=None, help="default: the accelerator")
    args = parser.parse_args()
    device = args.device or torch.accelerator.current_accelerator().type
    begun = time.perf_counter()

    config = Config(layers=args.layers, experts=args.experts)
    model = DeepSeekV3(config, device=device, dtype=torch.bfloat16)
    parameters = list(model.parameters())
    weights = sum(p.numel() for p in parameters)
    print(f"{weights / 1e9:.1f} billion parameters built in {time.perf_counter() - begun:.1f} s")

    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    ids = torch.randint(config.words, (1, args.tokens), device=device)
    model(ids, ids.roll(-1)).backward()
    optimizer.step()

    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"forward, backward and AdamW: {time.perf_counter() - begun:.1f} s in all, {rss:.2f} GB of this machine's memory")
    if device != "cpu":
        report_peak(parameters, ids)


def report_peak(parameters, ids):
    """The step's peak, beside what it must be: weights, gradients and two moments, a step counter each, and the ids."""
    block = 512  # the allocator rounds each tensor up to it
    rounded = [-(-p.numel() * p.element_size() // block) * block for p in parameters]
    must = 4 * sum(rounded) + block * len(parameters) + -(-ids.numel() * 8 // block) * block
    peak = torch.accelerator.max_memory_allocated()
    print(f"peak {peak} bytes; 4 x weights + counters + ids = {must} bytes; {'exact' if peak == must else 'differs'}")


if __name__ == "__main__":
    main()
