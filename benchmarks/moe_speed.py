"""Gated experts on a CPU: this package's operator against ways to write them in PyTorch, interleaved in one run.

64 experts, 6 of them for a token, hidden 512, inner 256. Sorting, gathering and the weighted sum are included, the
router is not. Least thread CPU time with 1 thread, else least wall time, of several rounds over two layers. Limit: the
longer of reading the chosen experts' weights once, at the speed at which this run reads memory, and of multiplying at
the speed of this run's largest matrix product; what is said of fp8 and int8 is their share of it, with bf16's products.

python benchmarks/moe_speed.py [--threads N] [--rounds N]
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from xinqiao.ops import moe

EXPERTS, TOP_K, HIDDEN, INNER = 64, 6, 512, 256
TOKENS = (1, 4, 16, 64, 256, 1024, 2048)
LAYERS = 2
SETTLED = 18  # calls after which weights lie where they stay
Run = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def loop(x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    y = torch.zeros(x.shape)
    for e in range(EXPERTS):
        token, place = torch.where(chosen == e)
        if len(token):
            gate, up = linear(x[token], gate_up[e]).chunk(2, -1)
            y.index_add_(0, token, (linear(silu(gate) * up, down[e]) * weights[token, place, None]).float())
    return y.to(x.dtype)


def ordered(chosen: Tensor) -> tuple[Tensor, Tensor]:
    flat = chosen.flatten()
    return flat.argsort(), torch.bincount(flat, minlength=EXPERTS).cumsum(0)


def added(rows: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    back = torch.empty_like(rows)
    back[order] = rows
    return (back.view(*weights.shape, -1) * weights[..., None].to(rows.dtype)).sum(1)


def grouped_mm(x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    order, ends = ordered(chosen)
    offsets = ends.to(torch.int32)
    gate, up = torch._grouped_mm(x[order // TOP_K], gate_up.mT, offs=offsets).chunk(2, -1)
    return added(torch._grouped_mm(silu(gate) * up, down.mT, offs=offsets), order, weights)


def padded_bmm(x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    order, ends = ordered(chosen)
    counts = ends.diff(prepend=ends.new_zeros(1))
    expert = chosen.flatten()[order]
    place = torch.arange(len(order)) - (ends - counts)[expert]
    rows = x.new_zeros(EXPERTS, int(counts.max()), HIDDEN)
    rows[expert, place] = x[order // TOP_K]
    gate, up = torch.bmm(rows, gate_up.mT).chunk(2, -1)
    return added(torch.bmm(silu(gate) * up, down.mT)[expert, place], order, weights)


PEERS: dict[str, Run] = {"loop": loop, "grouped_mm": grouped_mm, "padded bmm": padded_bmm}


def layers(dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    sizes = (EXPERTS, 2 * INNER, HIDDEN), (EXPERTS, HIDDEN, INNER)
    return [(torch.randn(sizes[0]).to(dtype) / 20, torch.randn(sizes[1]).to(dtype) / 20) for _ in range(LAYERS)]


def fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    experts, n, k = weight.shape
    return (weight.float() * 256).to(torch.float8_e4m3fn), torch.full((experts, -(-n // 128), -(-k // 128)), 119).byte()


def int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight.float().abs().amax(-1) / 127
    return (weight.float() / scale[..., None]).round().to(torch.int8), scale


def quantised(made: Callable[[Tensor], tuple[Tensor, Tensor]], given: list[tuple[Tensor, Tensor]]) -> list[Run]:
    def run(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Run:
        return lambda x, weights, chosen, *_: moe.experts(
            x, weights, chosen, first[0], second[0], gate_up_scale=first[1], down_scale=second[1]
        )

    return [run(made(gate_up), made(down)) for gate_up, down in given]


class Limits:
    """Bytes and multiplications a second of this run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        data = torch.ones(1 << 24, dtype=torch.int64)
        self.bytes = data.numel() * 8 / least(clock, 9, data.sum)
        self.products = {}
        for dtype in (torch.float32, torch.bfloat16):
            a, b = (torch.randn(1024, 1024).to(dtype) for _ in range(2))
            self.products[dtype] = 1024**3 / least(clock, 9, lambda a=a, b=b: a @ b)
        # A processor without products of bf16 makes them as fp32.
        self.products[torch.bfloat16] = max(self.products.values())

    def seconds(self, experts: int, tokens: int, dtype: torch.dtype, size: int) -> float:
        each = 3 * HIDDEN * INNER
        return max(experts * each * size / self.bytes, tokens * TOP_K * each / self.products[dtype])


def least(clock: Callable[[], float], rounds: int, work: Callable[[], object]) -> float:
    found = []
    for _ in range(rounds):
        start = clock()
        work()
        found.append(clock() - start)
    return min(found)


def settle(given: list[tuple[Tensor, Tensor]], extra: dict[str, list[Run]], dtype: torch.dtype) -> None:
    """Weights as those of a model that runs for some time: our kernels move theirs to larger pages, once."""
    x = torch.randn(1, HIDDEN).to(dtype)
    weights, chosen = moe.route(torch.randn(1, EXPERTS), top_k=TOP_K)
    for i, (gate_up, down) in enumerate(given):
        for run in (moe.experts, *(made[i] for made in extra.values())):
            for _ in range(SETTLED):
                run(x, weights, chosen, gate_up, down)


def measure(limits: Limits, dtype: torch.dtype, tokens: int, rounds: int, given: list, extra: dict) -> None:
    clock = limits.clock
    x = torch.randn(tokens, HIDDEN).to(dtype)
    weights, chosen = moe.route(torch.randn(tokens, EXPERTS), top_k=TOP_K)
    seconds: dict[str, float] = {}
    for _ in range(max(2, rounds * 64 // max(8, tokens) if tokens <= 64 else rounds // 4)):  # about as long for any
        for i, (gate_up, down) in enumerate(given):
            runs = {**PEERS, "ours": moe.experts, **{name: made[i] for name, made in extra.items()}}
            for name, run in runs.items():
                once = least(clock, 1, lambda run=run, g=gate_up, d=down: run(x, weights, chosen, g, d))
                seconds[name] = min(seconds.get(name, once), once)
    best = min(seconds[name] for name in PEERS)
    used = len(chosen.unique())
    print(f"{str(dtype)[6:]:>8} {tokens:5}", *(f"{seconds[name] * 1e3:9.2f}" for name in PEERS), end=" ")
    share = limits.seconds(used, tokens, dtype, x.element_size()) / seconds["ours"]
    bar = 1.5 if tokens == 16 else 1.0
    print(f"{seconds['ours'] * 1e3:7.2f} {best / seconds['ours']:5.2f}x (bar {bar:.1f}x) {share:4.0%} of limit", end="")
    for name in extra:
        share = limits.seconds(used, tokens, dtype, 1) / seconds[name]
        aim = " (bar 1.6x)" if name == "fp8" and tokens <= 16 else ""
        print(
            f" | {name} {seconds[name] * 1e3:6.2f} {seconds['ours'] / seconds[name]:4.2f}x bf16{aim} {share:4.0%}",
            end="",
        )
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=16)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    limits = Limits(clock)
    rates = ", ".join(f"{str(dtype)[6:]} {2 * rate / 1e9:.0f} GFLOP/s" for dtype, rate in limits.products.items())
    print(f"threads {options.threads}: reads {limits.bytes / 1e9:.1f} GB/s, {rates}")
    print("   dtype tokens", *(f"{name:>9}" for name in PEERS), "   ours; ms")
    with torch.no_grad():
        for dtype in (torch.float32, torch.bfloat16):
            given = layers(dtype)
            extra = {"fp8": quantised(fp8, given), "int8": quantised(int8, given)} if dtype == torch.bfloat16 else {}
            settle(given, extra, dtype)
            for tokens in TOKENS:
                measure(limits, dtype, tokens, options.rounds, given, extra)


if __name__ == "__main__":
    main()
