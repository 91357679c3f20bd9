"""Operators in Triton on this machine's GPU: choices and results against the reference, then speed. Names the card.

    python benchmarks/gpu_ops.py [--rounds 20] [--lengths 4096 8192 16384 32768]

bf16. Every kind takes its turn in every round; medians of CUDA events. Native sparse attention has the paper's sizes:
64 heads, 4 of keys, 192 and 128 wide. Its limit is the ratio of products that causal attention and it make; a decoding
step's is the ratio of bytes. Says so where there is no GPU, and measures nothing.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable

import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from xinqiao.ops import backend
from xinqiao.ops.dsa import dsa_attention, dsa_index
from xinqiao.ops.linear import linear_block_fp8, linear_int8
from xinqiao.ops.moe import experts, route
from xinqiao.ops.nsa import Branch, nsa_attention
from xinqiao.ops.rules import Choosing

HEADS, GROUPS, D_K, D_V, WINDOW = 64, 4, 192, 128, 512
RULE = Choosing()
Work = dict[str, Callable[[], object]]


def time(works: Work, rounds: int) -> dict[str, float]:
    """Median milliseconds of each, one after the other in every round."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 2):
        for name, work in works.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            end.synchronize()
            if turn >= 2:  # the first ones compile
                found[name].append(begin.elapsed_time(end))
    return {name: statistics.median(times) for name, times in found.items()}


def products(length: int) -> tuple[float, float]:
    """Keys that all queries meet: in causal attention; in the three branches, whose first one scores twice."""
    dense = sparse = 0.0
    for t in range(length):
        dense += t + 1
        compressed = max(0, (t + 1 - RULE.length) // RULE.stride + 1) if t + 1 >= RULE.length else 0
        chosen = min(RULE.blocks * RULE.block, t + 1)
        sparse += 1.5 * compressed + chosen + min(WINDOW, t + 1)
    return dense, sparse


def nsa_tensors(length: int, device: str, dtype: torch.dtype) -> tuple[torch.Tensor, list[Branch], torch.Tensor]:
    def normal(rows: int, heads: int, d: int) -> torch.Tensor:
        return torch.randn(1, rows, heads, d, device=device, dtype=dtype)

    branches = [Branch(normal(n, GROUPS, D_K), normal(n, GROUPS, D_V)) for n in (RULE.keys(length), length, length)]
    return normal(length, HEADS, D_K), branches, torch.rand(1, length, HEADS, 3, device=device, dtype=dtype)


def choices(device: str, cases: int) -> int:
    """Random queries that do not choose the reference's blocks, tokens or experts; half have ties."""
    different = 0
    for seed in range(cases // 64):
        torch.manual_seed(seed)
        q, (compressed, *_), _ = nsa_tensors(64 * (1 + seed % 8), "cpu", torch.float32)
        logits, index = torch.randn(64, 64), (torch.randn(1, 16, 8, 64), torch.randn(1, 256, 64), torch.randn(1, 16, 8))
        if seed % 2:
            q, compressed = q.round(), Branch(compressed.keys.sign(), compressed.values)
            logits, index = logits.round(), tuple(x.sign() for x in index)
        kept = slice(0, None, max(1, q.shape[1] // 64))
        found = []
        for where, kind in (("cpu", "reference"), (device, "triton")):
            with backend.use(kind):
                one = backend.kernel("nsa", "choose", torch.device(where), torch.float32)
                rows = torch.tensor([[0, q.shape[1], 0, compressed.keys.shape[1], 0]], device=where)
                blocks = one(q[0].to(where), compressed.keys[0].to(where), rows, RULE, D_K**-0.5)
                tokens = dsa_index(*(x.to(where) for x in index), top_k=32, start=200)
                chosen = route(logits.to(where), top_k=6, groups=8, kept_groups=4)[1]
            found.append([x.cpu() for x in (blocks[kept], tokens[0], chosen)])
        different += sum(int((a != b).flatten(1).any(1).sum()) for a, b in zip(*found, strict=True))
    return different


def closeness(device: str) -> dict[str, float]:
    """Largest difference from the fp64 reference, of the largest size of a result."""
    q, branches, gates = nsa_tensors(1024, device, torch.bfloat16)
    x, weight = torch.randn(64, 1024, device=device, dtype=torch.bfloat16), torch.randn(512, 1024, device=device)
    scale = torch.full((4, 8), 0.5, device=device)
    runs = {
        "nsa": (lambda q, g, *t: nsa_attention(q, *map(Branch, t[::2], t[1::2]), g), (q, gates, *sum(branches, ()))),
        "fp8": (lambda x: linear_block_fp8(x, weight.to(torch.float8_e4m3fn), scale), (x,)),
    }
    found = {}
    for name, (run, inputs) in runs.items():
        mine = run(*inputs).double()
        with backend.use("reference"):
            theirs = run(*(t.double() for t in inputs))
        found[name] = float((mine - theirs).abs().max() / theirs.abs().max())
    return found


def attention(length: int, device: str, rounds: int) -> str:
    q, branches, gates = nsa_tensors(length, device, torch.bfloat16)
    for tensor in (q, *branches[1]):
        tensor.requires_grad_()
    k, v = (x.transpose(1, 2).repeat_interleave(HEADS // GROUPS, 1) for x in branches[1])

    def dense() -> torch.Tensor:
        return scaled_dot_product_attention(q.transpose(1, 2), k, v, is_causal=True)

    def sparse() -> torch.Tensor:
        return nsa_attention(q, *branches, gates, tokens=WINDOW)

    with torch.no_grad():
        forward = time({"dense": dense, "sparse": sparse}, rounds)
    both = time(
        {"dense": lambda: dense().sum().backward(retain_graph=True), "sparse": lambda: sparse().sum().backward()},
        rounds,
    )
    all_keys, some = products(length)
    limit = all_keys / some
    parts = []
    for name, found in (("forward", forward), ("forward and backward", both)):
        speed = found["dense"] / found["sparse"]
        parts.append(f"{name} {found['sparse']:.2f} ms, SDPA {found['dense']:.2f}: {speed:.2f}x ({speed / limit:.0%})")
    return f"NSA {length}: limit {limit:.2f}x; " + "; ".join(parts)


def latent_decode(tokens: int, device: str, rounds: int) -> str:
    q = torch.randn(8, 1, 128, 576, device=device, dtype=torch.bfloat16)
    latent = torch.randn(8, tokens, 576, device=device, dtype=torch.bfloat16)
    a, b = (
        torch.randn(8, n, *heads, 128, device=device).to(torch.float8_e4m3fn) for n, heads in ((1, (64,)), (tokens, ()))
    )
    weights = torch.rand(8, 1, 64, device=device)
    start = tokens - 1

    def sparse() -> torch.Tensor:
        return dsa_attention(q, latent, dsa_index(a, b, weights, start=start))

    chosen = dsa_index(a, b, weights, start=start)
    found = time(
        {
            "dense": lambda: dsa_attention(q, latent, None, start=start),
            "sparse": sparse,
            "attention": lambda: dsa_attention(q, latent, chosen),
        },
        rounds,
    )
    limit = tokens * 576 * 2 / (2048 * 576 * 2 + tokens * 128)
    speed = found["dense"] / found["sparse"]
    return (
        f"DSA decode {tokens}: {found['sparse']:.3f} ms, of it attention {found['attention']:.3f}; "
        f"dense {found['dense']:.3f}: {speed:.2f}x of {limit:.2f}x by bytes ({speed / limit:.0%})"
    )


def layers(device: str, rounds: int) -> list[str]:
    lines = []
    weight = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
    fp8, scale = weight.to(torch.float8_e4m3fn), torch.ones(32, 32, device=device)
    int8, steps = (weight.float() * 30).clamp(-127, 127).to(torch.int8), torch.ones(4096, device=device)
    for m in (1, 16, 512, 4096):
        x = torch.randn(m, 4096, device=device, dtype=torch.bfloat16)
        found = time(
            {
                "bf16": lambda x=x: linear(x, weight),
                "fp8": lambda x=x: linear_block_fp8(x, fp8, scale),
                "int8": lambda x=x: linear_int8(x, int8, steps),
            },
            rounds,
        )
        lines.append(
            f"linear 4096x4096 M={m}: torch bf16 {found['bf16']:.3f} ms, "
            f"fp8 {found['bf16'] / found['fp8']:.2f}x, int8 {found['bf16'] / found['int8']:.2f}x"
        )
    gate_up, down = (torch.randn(64, *s, device=device, dtype=torch.bfloat16) for s in ((512, 512), (512, 256)))
    for m in (16, 256, 2048):
        x, logits = torch.randn(m, 512, device=device, dtype=torch.bfloat16), torch.randn(m, 64, device=device)
        weights, chosen = route(logits, top_k=6)

        def run(x: torch.Tensor = x, w: torch.Tensor = weights, c: torch.Tensor = chosen) -> torch.Tensor:
            return experts(x, w, c, gate_up, down)

        lines.append(f"64 experts, {m} tokens: {time({'experts': run}, rounds)['experts']:.3f} ms")
    return lines


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--lengths", type=int, nargs="+", default=[4096, 8192, 16384, 32768])
    options = arguments.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_ops: no GPU here; nothing was measured")
    os.environ.pop("TRITON_INTERPRET", None)
    print(f"card: {torch.cuda.get_device_name()}, torch {torch.__version__}")
    print(f"choices: {choices('cuda', 1024)} of 1024 queries of each operator differ from the reference")
    for name, far in closeness("cuda").items():
        print(f"{name}: at most {far:.1e} of the largest result from the fp64 reference")
    for length in options.lengths:
        print(attention(length, "cuda", options.rounds), flush=True)
    print(latent_decode(65536, "cuda", options.rounds), flush=True)
    print("\n".join(layers("cuda", options.rounds)))


if __name__ == "__main__":
    main()
