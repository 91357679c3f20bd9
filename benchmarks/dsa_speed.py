"""DeepSeek-V3.2's sparse attention (128 heads, latents of 512 + 64, indexer of 64 heads, 2048 tokens) on a processor.

`decode`: one token after a cache, the indexer and attention at what it chooses, against attention to the whole cache by
the same kernel. Limits: how many times fewer bytes are read (latents; index keys of 1 byte and their scales), and how
many times fewer operations there are, all counted alike.

`prefill`: 32 queries at the end of a prompt, against the same kernel with all tokens, and against PyTorch's attention
of heads that are expanded from the latents (192 and 128 wide, 3.4 times fewer operations a token; 16 of 128 heads are
timed, times 8, and the expansion is not). PyTorch is slow there, so the last figure is what those operations would take
at the speed of the dense kernel: where it is below 1, a prompt is better not absorbed.

One thread: least CPU time of several rounds, in which the rows take turns. More: least wall time.
Run: python benchmarks/dsa_speed.py [decode | prefill | backward | choose] [threads]
"""

import sys
import time
from collections.abc import Callable

import torch

from xinqiao.ops.dsa import dsa_attention, dsa_index, dsa_quantize

HEADS, D, D_V, INDEX_HEADS, INDEX_D, TOP_K = 128, 576, 512, 64, 128, 2048
SCALE = 192**-0.5
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def least(rounds: int, **work: Callable[[], object]) -> dict[str, float]:
    """Seconds of each, the least of several rounds, in which they take turns."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    found = dict.fromkeys(work, float("inf"))
    for turn in range(rounds + 1):
        for name, call in work.items():
            start = clock()
            call()
            if turn:  # the first one warms up
                found[name] = min(found[name], clock() - start)
    return found


def operands(
    tokens: int, queries: int, dtype: torch.dtype
) -> tuple[Callable[[], torch.Tensor], torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    q, q_scale = dsa_quantize(torch.randn(1, queries, INDEX_HEADS, INDEX_D))
    k, k_scale = dsa_quantize(torch.randn(1, tokens, INDEX_D))
    weights = torch.randn(1, queries, INDEX_HEADS)

    def index() -> torch.Tensor:
        return dsa_index(q, k, weights, q_scale, k_scale, top_k=TOP_K, start=tokens - queries)

    return index, torch.randn(1, queries, HEADS, D).to(dtype), torch.randn(1, tokens, D).to(dtype)


def operations(tokens: int) -> tuple[float, float, float]:
    """Of one query: indexer, sparse attention, dense attention."""
    each = 2 * HEADS * (D + D_V)
    return 2 * INDEX_HEADS * INDEX_D * tokens, each * min(tokens, TOP_K), each * tokens


def decode(tokens: int, name: str) -> None:
    dtype = DTYPES[name]
    index, q, latent = operands(tokens, 1, dtype)
    choice = index()
    found = least(
        5,
        index=index,
        sparse=lambda: dsa_attention(q, latent, choice, d_v=D_V, scale=SCALE),
        dense=lambda: dsa_attention(q, latent, None, d_v=D_V, scale=SCALE, start=tokens - 1),
    )
    flops = operations(tokens)
    row = D * dtype.itemsize
    read = tokens * row / (tokens * (INDEX_D + 1) + min(tokens, TOP_K) * row)
    fewer = flops[2] / (flops[0] + flops[1])
    ratio = found["dense"] / (found["index"] + found["sparse"])
    speeds = " ".join(f"{count / found[part] / 1e9:6.0f}" for part, count in zip(found, flops, strict=True))
    times = " ".join(f"{1e3 * found[part]:7.2f}" for part in found)
    print(
        f"{name} {tokens:7} {times}   {speeds}   {ratio:5.2f}x  bytes {read:5.2f}x: {ratio / read:4.0%}"
        f"  operations {fewer:5.2f}x: {ratio / fewer:4.0%}"
    )


def expanded(tokens: int, queries: int, dtype: torch.dtype) -> Callable[[], object]:
    q, k, v = (torch.randn(1, 16, n, d).to(dtype) for n, d in ((queries, 192), (tokens, 192), (tokens, 128)))
    return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)


def prefill(tokens: int, name: str, queries: int = 32) -> None:
    dtype = DTYPES[name]
    index, q, latent = operands(tokens, queries, dtype)
    choice = index()
    found = least(
        2,
        index=index,
        sparse=lambda: dsa_attention(q, latent, choice, d_v=D_V, scale=SCALE),
        dense=lambda: dsa_attention(q, latent, None, d_v=D_V, scale=SCALE, start=tokens - queries),
        expanded=expanded(tokens, queries, dtype),
    )
    found["expanded"] *= HEADS / 16
    flops = operations(tokens)
    ours = found["index"] + found["sparse"]
    fewer = flops[2] / (flops[0] + flops[1])
    ratio = found["dense"] / ours
    times = " ".join(f"{1e3 * seconds / queries:7.2f}" for seconds in found.values())
    print(
        f"{name} {tokens:7} {times}   {ratio:5.2f}x  operations {fewer:5.2f}x: {ratio / fewer:4.0%}"
        f"   against expanded heads {found['expanded'] / ours:5.2f}x, {found['dense'] * 320 / (D + D_V) / ours:.2f}x"
    )


def backward(tokens: int, name: str, queries: int = 16) -> None:
    index, q, latent = operands(tokens, queries, DTYPES[name])
    choice = index()
    q.requires_grad_()
    latent.requires_grad_()
    out = dsa_attention(q, latent, choice, d_v=D_V, scale=SCALE)
    up = torch.randn_like(out)
    found = least(
        2,
        forward=lambda: dsa_attention(q, latent, choice, d_v=D_V, scale=SCALE),
        backward=lambda: torch.autograd.grad(out, (q, latent), up, retain_graph=True),
    )
    flops = operations(tokens)[1] * queries
    more = (3 * D + 2 * D_V) / (D + D_V)
    speeds = [count / found[part] / 1e9 for part, count in (("forward", flops), ("backward", more * flops))]
    print(
        f"{name} {tokens:7}  ms a query: forward {1e3 * found['forward'] / queries:.2f} ({speeds[0]:.0f} GFLOP/s), "
        f"backward {1e3 * found['backward'] / queries:.2f} ({speeds[1]:.0f} GFLOP/s, in fp32): "
        f"{found['backward'] / found['forward']:.2f} times, {more:.2f} by operations"
    )


def choose(tokens: int) -> None:
    """An indexer of one head and one element: nearly nothing but the choice."""
    scores = torch.randn(1, tokens, 1)
    one, k_scale = torch.ones(1, 1, 1, 1), scores.sign()[..., 0]
    found = least(
        20,
        ours=lambda: dsa_index(one, scores.abs(), one[0], None, k_scale, top_k=TOP_K, start=tokens - 1),
        torch=lambda: torch.topk(scores[0, :, 0], TOP_K),
    )
    print(f"choose {TOP_K} of {tokens}: {1e3 * found['ours']:.3f} ms, torch.topk {1e3 * found['torch']:.3f} ms")


# Words of the command: what is printed first, what is run, at how many tokens, and whether in each dtype.
PARTS: dict[str, tuple[str, Callable[..., None], tuple[int, ...], bool]] = {
    "decode": (
        "decode: ms of index, sparse, dense; GFLOP/s of each; speed against dense and its limits",
        *(decode, (4096, 8192, 16384, 32768, 65536), True),
    ),
    "prefill": (
        "prefill: ms a query of index, sparse, dense, expanded heads; speed against dense and its limit",
        *(prefill, (4096, 8192, 16384), True),
    ),
    "backward": ("backward: of attention", backward, (8192,), True),
    "choose": ("choose: the tokens, from scores", choose, (4096, 16384, 65536), False),
}


def main() -> None:
    words = sys.argv[1:]
    torch.set_num_threads(int(next((word for word in words if word.isdigit()), 1)))
    print(f"{torch.get_num_threads()} thread(s)")
    for part in [word for word in words if word in PARTS] or PARTS:
        title, run, sizes, typed = PARTS[part]
        print(title)
        for options in [(name,) for name in DTYPES] if typed else [()]:
            for tokens in sizes:
                run(tokens, *options)


if __name__ == "__main__":
    main()
