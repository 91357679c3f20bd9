"""Native sparse attention against PyTorch's dense attention, forward, backward and decoding, beside what theory allows.

    python benchmarks/nsa_speed.py [--threads 1 2] [--lengths 512 1024 2048 4096 8192 ...] [--rounds 3]

fp32, 16 heads of 64 over one key head, the paper's blocks. Dense is `scaled_dot_product_attention`, causal, same heads;
in decoding it is our own kernel over all keys, for PyTorch's is many times slower there. Theory: keys that a query
meets on average, dense against sparse (three branches); in decoding, rows of the cache that are read. Every kind takes
its turn in every round and the least time counts: CPU time with one thread, elapsed time with more. The layer of the
package native-sparse-attention-pytorch is timed beside ours where `python benchmarks/peers.py peers` made its
environment, whole and without the projections to q, k, v and back.
"""

import argparse
import json
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import peers
import torch
from torch.nn.functional import scaled_dot_product_attention

from xinqiao.ops.nsa import Branch, nsa_attention, nsa_forward, nsa_window, sequences
from xinqiao.ops.rules import Choosing

HEADS, D, WINDOW = 16, 64, 512
RULE = Choosing()
SIZES = [RULE.length, RULE.stride, RULE.block, RULE.blocks, RULE.initial, RULE.local]
PEER = Path(__file__).with_name("nsa_peer.py")


def clock(threads: int) -> Callable[[], float]:
    return time.process_time if threads == 1 else time.perf_counter


def least(works: dict[str, Callable[[], object]], rounds: int, threads: int) -> dict[str, float]:
    now, found = clock(threads), {name: float("inf") for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            start = now()
            work()
            found[name] = min(found[name], now() - start)
    return found


def met(length: int) -> tuple[float, float]:
    """Keys that a query meets on average: dense, and in the three branches."""
    sparse = 0
    for t in range(length):
        sparse += RULE.keys(t + 1) + min(WINDOW, t + 1)
        sparse += (min(RULE.blocks, t // RULE.block + 1) - 1) * RULE.block + t % RULE.block + 1
    return (length + 1) / 2, sparse / length


def arguments(length: int, *, learn: bool) -> tuple[torch.Tensor, Branch, Branch, Branch, torch.Tensor]:
    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape).requires_grad_(learn)

    branches = [Branch(draw(1, rows, 1, D), draw(1, rows, 1, D)) for rows in (RULE.keys(length), length, length)]
    return draw(1, length, HEADS, D), *branches, torch.rand(1, length, HEADS, 3).requires_grad_(learn)


def turned(*tensors: torch.Tensor, learn: bool) -> list[torch.Tensor]:
    return [t.detach().transpose(1, 2).contiguous().requires_grad_(learn) for t in tensors]


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def prefill(length: int, rounds: int, threads: int) -> None:
    given = arguments(length, learn=False)
    qkv = turned(given[0], *given[2], learn=False)
    works = {"dense": lambda: dense(*qkv), "sparse": lambda: nsa_attention(*given, rule=RULE, tokens=WINDOW)}
    with torch.no_grad():
        found = least(works, rounds, threads)
    report("forward", length, found, met(length), threads)


def backward(length: int, rounds: int, threads: int) -> None:
    given = arguments(length, learn=True)
    qkv = turned(given[0], *given[2], learn=True)
    outs = {"dense": dense(*qkv), "sparse": nsa_attention(*given, rule=RULE, tokens=WINDOW)}
    ups = {name: torch.randn_like(out) for name, out in outs.items()}
    works = {name: lambda o=out, u=ups[name]: o.backward(u, retain_graph=True) for name, out in outs.items()}
    report("backward", length, least(works, rounds, threads), met(length), threads)


def report(what: str, length: int, found: dict[str, float], keys: tuple[float, float], threads: int) -> None:
    ratio, theory = found["dense"] / found["sparse"], keys[0] / keys[1]
    products = 2 if what == "forward" else 5
    rate = [2 * products * HEADS * D * n * length / found[k] / 1e9 for n, k in zip(keys, found, strict=True)]
    print(
        f"{what:8} {length:6} {threads} threads: dense {found['dense']:7.3f} s ({rate[0]:3.0f} GFLOP/s), "
        f"sparse {found['sparse']:.3f} s ({rate[1]:3.0f}): {ratio:5.2f}x, theory {theory:5.2f}x, {ratio / theory:4.0%}",
        flush=True,
    )


def decode(length: int, rounds: int, threads: int) -> None:
    """One token on a cache of `length`; eight caches take turns, so that they come from memory."""
    caches = 8
    keys, pages, fewer = RULE.keys(length), -(-length // 64), -(-RULE.keys(length) // 64)
    pools = [[torch.randn(n, 64, 1, D) for n in (fewer, fewer, pages, pages, pages, pages)] for _ in range(caches)]
    tables = [torch.arange(n, dtype=torch.int32)[None] for n in (fewer, pages)]
    both = [sequences([1], [n], [length - 1]) for n in (keys, length)]
    q, gates = torch.randn(1, HEADS, D), torch.rand(1, HEADS, 3)

    def sparse() -> None:
        for pool in pools:
            nsa_forward(q, pool, gates, both, SIZES, RULE.importance, WINDOW, D**-0.5, tables)

    def full() -> None:
        for pool in pools:
            nsa_window(q, pool[2], pool[3], both[1], 0, D**-0.5, tables[1])

    with torch.inference_mode():
        found = least({"dense": full, "sparse": sparse}, 5 * rounds, threads)
    rows = keys + RULE.blocks * RULE.block + WINDOW
    ratio, theory = found["dense"] / found["sparse"], length / rows
    micro = {name: seconds / caches * 1e6 for name, seconds in found.items()}
    rate = rows * 2 * D * 4 / micro["sparse"] / 1e3
    print(
        f"decode   {length:6} {threads} threads: dense {micro['dense']:7.0f} us, sparse {micro['sparse']:6.0f} us "
        f"({rate:4.1f} GB/s): {ratio:5.2f}x, theory {theory:5.2f}x, {ratio / theory:4.0%}",
        flush=True,
    )


def memory() -> None:
    """Most memory that a forward and backward of twice the length adds."""
    for length in (16384, 32768):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        nsa_attention(*arguments(length, learn=True), rule=RULE, tokens=WINDOW).sum().backward()
        print(
            f"memory   {length:6}: {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.0f} MB more",
            flush=True,
        )


def peer(rounds: int) -> None:
    program = peers.python("peers")
    if program is None:
        print(f"no peer: {peers.how('peers')} makes its environment")
        return
    done = subprocess.run([str(program), str(PEER), str(rounds)], check=True, capture_output=True, text=True)
    for length, found in json.loads(done.stdout.splitlines()[-1]).items():
        for what, (theirs, ours) in found.items():
            print(
                f"peer     {length:>6} 1 thread, {what}: theirs {theirs:.2f} s, ours {ours:.2f} s: {theirs / ours:.1f}x"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192, 16384, 32768])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    for threads in options.threads:
        torch.set_num_threads(threads)
        for length in options.lengths:
            prefill(length, options.rounds if length < 32768 else 1, threads)
        for length in (n for n in options.lengths if n <= 8192):
            backward(length, options.rounds, threads)
        for length in (4096, 16384, 65536):
            decode(length, options.rounds, threads)
    memory()
    peer(options.rounds)


if __name__ == "__main__":
    main()
