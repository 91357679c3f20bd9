"""Linear layers of 8-bit weights against PyTorch's bf16, and against the limits of this machine.

    python benchmarks/linear_speed.py [--rounds 7]

Weights are 4096 x 4096 and larger than the cache together; every kind takes its turn in every round. One thread: CPU
time of the thread; two: elapsed time. Least and median of all calls. What limits a product: the bytes of its weights at
the rate that memory is read with, or its multiplications at the rate that the processor has for bf16.
"""

import argparse
import copy
import ctypes
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import linear

import xinqiao.native
from xinqiao.native import processor
from xinqiao.native.build import library
from xinqiao.native.kernels import FLAGS
from xinqiao.ops.modules import Fp8Linear, Int8Linear

SIZE, COPIES = 4096, 8
SETTLED = 18  # calls after which weights lie where they stay
LEVEL = processor.levels()[0]
FAST = "bf16" if LEVEL == "avx512-bf16" else "fp32"  # what the processor multiplies fastest
BARS = {  # name → (least speed against torch's bf16, what it is named in the table)
    "fp8 M=1": 3.2,
    "int8 M=1": 3.5,
    "fp8 M=8": 1.5,
    "fp8 M=512": 0.95,
}


def peers() -> ctypes.CDLL:
    include = f"-I{Path(xinqiao.native.__file__).parent}"
    flags = (*FLAGS, *processor.LEVELS[LEVEL].flags, "-fvisibility=default", include)
    found = ctypes.CDLL(str(library("linear-peers", Path(__file__).with_name("linear_peers.cpp"), flags, (), "1")))
    found.peer_bf16.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 3 + [ctypes.c_int32]
    found.peer_read.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32]
    found.peer_peak.argtypes = [ctypes.c_int64, ctypes.c_int32]
    found.peer_bf16.restype, found.peer_read.restype, found.peer_peak.restype = None, ctypes.c_uint64, ctypes.c_float
    return found


class Layers:
    """Copies of one matrix, as every format has it. any: fp32 scales that are no powers of two."""

    def __init__(self) -> None:
        first = nn.Linear(SIZE, SIZE, bias=False, dtype=torch.bfloat16)
        any_scale = Fp8Linear.from_linear(first)
        any_scale.weight_scale_inv *= torch.rand_like(any_scale.weight_scale_inv) + 1
        self.bf16 = copies(first)
        self.fp32 = copies(copy.deepcopy(first).float())
        self.fp8 = copies(Fp8Linear.from_linear(first))
        self.mxfp8 = copies(Fp8Linear.from_linear(first, block=(1, 32), scale_dtype=torch.uint8))
        self.any = copies(any_scale)
        self.int8 = copies(Int8Linear.from_linear(first))
        self.memory = torch.ones(COPIES * SIZE * SIZE, dtype=torch.uint8)


def copies(layer: nn.Module) -> list[nn.Module]:
    return [copy.deepcopy(layer) for _ in range(COPIES)]


def works(layers: Layers, made: ctypes.CDLL, threads: int) -> dict[str, Callable[[int], object]]:
    found: dict[str, Callable[[int], object]] = {}
    start = layers.memory.data_ptr()
    found["read"] = lambda i: made.peer_read(start + i * SIZE * SIZE, SIZE * SIZE, threads)
    found["peak"] = lambda i: made.peer_peak(200_000, threads)
    for tokens in (1, 8):
        x = torch.randn(tokens, SIZE).bfloat16()
        wide = x.float()
        padded = torch.randn(8, SIZE).to(torch.bfloat16 if FAST == "bf16" else torch.float32)
        y = torch.empty(8, SIZE)

        def own(i: int, x: torch.Tensor = padded, y: torch.Tensor = y, tokens: int = tokens) -> None:
            at = layers.bf16[i].weight.data_ptr()
            made.peer_bf16(x.data_ptr(), at, y.data_ptr(), tokens, SIZE, SIZE, threads)

        found[f"torch bf16 M={tokens}"] = lambda i, x=x: linear(x, layers.bf16[i].weight)
        found[f"torch fp32 M={tokens}"] = lambda i, x=wide: linear(x, layers.fp32[i].weight)
        found[f"our bf16 M={tokens}"] = own
        for name in ("fp8", "mxfp8", "any", "int8"):
            found[f"{name} M={tokens}"] = lambda i, x=x, name=name: getattr(layers, name)[i](x)
    return found


def settle(work: dict[str, Callable[[int], object]]) -> None:
    """Weights as those of a model that runs for some time: our kernels move theirs to larger pages, once."""
    for _ in range(SETTLED):
        for name, call in work.items():
            for i in range(COPIES if name.endswith("M=1") or name == "read" else 0):
                call(i)


def timed(work: dict[str, Callable[[int], object]], rounds: int, copies: int, threads: int) -> dict[str, list[float]]:
    clock = time.thread_time if threads == 1 else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, call in work.items():
            for i in range(copies):
                begun = clock()
                call(i)
                if turn:
                    found[name].append(clock() - begun)
    return found


def table(times: dict[str, list[float]], threads: int) -> None:
    weights = SIZE * SIZE
    rate = weights / min(times["read"]) / 1e9
    peak = 200_000 * 384 * 2 * threads / min(times["peak"]) / 1e9
    print(f"\n{threads} thread(s): memory is read at {rate:.1f} GB/s, {FAST} makes {peak:.0f} GFLOP/s")
    print(f"{'':20} {'least ms':>9} {'median':>8} {'x torch':>8} {'median':>8} {'x our bf16':>10} {'of limit':>9}")
    for name, found in times.items():
        if "M=" not in name:
            continue
        kind, tokens = name.rsplit(" M=", 1)
        size = weights * (2 if "bf16" in kind else 4 if "fp32" in kind else 1)
        limit = max(size / rate, int(tokens) * 2 * weights / peak if kind != "int8" else 0) / 1e9
        torch_, ours = times[f"torch bf16 M={tokens}"], times.get(f"our bf16 M={tokens}")
        against = f"{min(ours) / min(found):10.2f}" if ours else " " * 10
        middle = statistics.median
        print(
            f"{name:20} {min(found) * 1e3:9.3f} {middle(found) * 1e3:8.3f} {min(torch_) / min(found):8.2f} "
            f"{middle(torch_) / middle(found):8.2f} {against} {limit / min(found):9.0%}"
        )
    for name, bar in BARS.items():
        if name in times:
            reached = min(times[f"torch bf16 {name.split()[1]}"]) / min(times[name])
            print(f"{name}: {reached:.2f} of {bar} times torch's bf16: {'reached' if reached >= bar else 'MISSED'}")


def scaled_mm(fp8: float) -> None:
    """torch._scaled_mm on one thread takes half a second."""
    a = torch.randn(16, SIZE).to(torch.float8_e4m3fn)
    b = torch.randn(SIZE, SIZE).to(torch.float8_e4m3fn).t()
    one = torch.ones(())
    begun = time.thread_time()
    torch._scaled_mm(a[:1], b, one, one, out_dtype=torch.bfloat16)
    spent = time.thread_time() - begun
    print(f"torch._scaled_mm M=1: {spent * 1e3:.0f} ms, {spent / fp8:.0f} times ours (at least 100)")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if LEVEL not in ("avx512-bf16", "x86-64-v3"):
        print("linear_speed: the rows that it compares with need AVX-512 BF16 or AVX2; nothing was measured")
        return
    torch.manual_seed(0)
    made, layers = peers(), Layers()
    x = torch.randn(512, SIZE).bfloat16()
    wide = x.float()
    many: dict[str, Callable[[int], object]] = {
        "torch bf16 M=512": lambda i: linear(x, layers.bf16[i].weight),
        "torch fp32 M=512": lambda i: linear(wide, layers.fp32[i].weight),
        "fp8 M=512": lambda i: layers.fp8[i](x),
        "int8 M=512": lambda i: layers.int8[i](x),
    }
    with torch.inference_mode():
        for threads in (1, 2):
            torch.set_num_threads(threads)
            few = works(layers, made, threads)
            settle(few)
            times = timed(few, options.rounds, COPIES, threads)
            times |= timed(many, options.rounds, 2, threads)
            table(times, threads)
            if threads == 1:
                scaled_mm(min(times["fp8 M=1"]))


if __name__ == "__main__":
    main()
