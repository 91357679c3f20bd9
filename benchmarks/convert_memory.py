"""Gigabytes per second of one weight from one number format to another, in memory: ours, and the installed peers.

    python benchmarks/peers.py peers                       # their environment, once
    python benchmarks/convert_memory.py [--rounds N] [--size N]

bf16 → FP8 with powers of two for 128 x 128 weights, and from that → INT8 per channel. Four copies of one 4096 x 4096
tensor take turns, so that none is in the cache; the shortest time counts. One thread is measured by its own processor
time, two by the wall's clock. The limit is memcpy of as many bytes as the conversion reads and writes. "Compared" is
what `xinqiao convert` does: it also decodes every stored value again and adds up its error. No peer does.
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peers
import torch
from torch import Tensor
from torch_recipes import Work, clock_of, deepgemm, dequantized, minima, per_channel

from xinqiao.native.codec import Errors, Matrix, convert

COPIES = 4
PANEL = 256  # rows: 2 MB of bf16, as the converter reads


def bytes_of(tensor: Tensor) -> memoryview:
    return memoryview(tensor.view(torch.uint8).numpy()).cast("B")


class Ours:
    """A matrix in panels of rows, shared among threads."""

    def __init__(self, source: list[Matrix], target: Matrix, scale: str, shape: tuple[int, int], threads: int) -> None:
        self.source, self.target, self.scale, self.shape = source, target, scale, shape
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def run(self, copy: int, *, checked: bool) -> None:
        panels = range(0, self.shape[0], PANEL)
        for _ in (self.pool.map if self.pool else map)(lambda row: self.panel(copy, row, checked), panels):
            pass

    def panel(self, copy: int, row: int, checked: bool) -> None:  # noqa: FBT001
        parts = (self.part(self.source[copy], row), self.part(self.target, row))
        convert(*parts, PANEL, self.shape[1], self.scale, "ceil", Errors() if checked else None)

    def part(self, matrix: Matrix, row: int) -> Matrix:
        height, width = matrix.block
        size = len(matrix.codes) // self.shape[0]
        codes = memoryview(matrix.codes)[row * size : (row + PANEL) * size]
        if matrix.scales is None:
            return Matrix(matrix.element, codes)
        across = 4 * (-(-self.shape[1] // width) if width else 1)
        scales = memoryview(matrix.scales)[row // height * across : (row + PANEL) // height * across]
        return Matrix(matrix.element, codes, scales, matrix.block)


def copying(count: int) -> Work:
    sources = [torch.ones(count // 2, dtype=torch.uint8) for _ in range(COPIES)]
    target = torch.zeros(count // 2, dtype=torch.uint8)
    return lambda copy: target.copy_(sources[copy])


def to_fp8(weights: list[Tensor], threads: int) -> dict[str, Work]:
    rows, columns = weights[0].shape
    sources = [Matrix("bf16", bytes_of(w)) for w in weights]
    target = Matrix("e4m3fn", bytearray(rows * columns), bytearray(4 * rows * columns // 128**2), (128, 128))
    ours = Ours(sources, target, "pow2", (rows, columns), threads)
    return {
        "ours": lambda copy: ours.run(copy, checked=False),
        "ours, compared": lambda copy: ours.run(copy, checked=True),
        "memcpy, 3 bytes a weight": copying(3 * rows * columns),
        "plain PyTorch, DeepGEMM's recipe": lambda copy: deepgemm(weights[copy]),
        **installed(weights),
    }


def installed(weights: list[Tensor]) -> dict[str, Work]:
    """What the peers that are there do with the same tensor."""
    try:
        from compressed_tensors.compressors import compress_module
        from compressed_tensors.quantization import preset_name_to_scheme
        from llmcompressor.entrypoints.model_free.lifecycle import calibrate_weight, initialize_quantized_linear
        from torchao.prototype.mx_formats.config import ScaleCalculationMode
        from torchao.prototype.mx_formats.mx_tensor import to_mx
        from torchao.quantization import PerBlock
        from torchao.quantization.quantize_.workflows import Float8Tensor
    except ImportError:
        print(f"peers: not installed; {peers.how('peers')}")
        return {}

    def compressor(name: str) -> Work:
        scheme = preset_name_to_scheme(name, ["Linear"])

        def work(copy: int) -> None:
            module = initialize_quantized_linear(weights[copy], scheme, "cpu")
            calibrate_weight(module)
            compress_module(module)

        return work

    block = PerBlock([128, 128])
    return {
        "torchao, to_mx 1x32 RCEIL": lambda c: to_mx(weights[c], torch.float8_e4m3fn, 32, ScaleCalculationMode.RCEIL),
        "torchao, Float8Tensor 128x128 fp32": lambda c: Float8Tensor.from_hp(weights[c], granularity=block),
        "llm-compressor, FP8_BLOCK": compressor("FP8_BLOCK"),
        "llm-compressor, MXFP8": compressor("MXFP8"),
    }


def to_int8(weights: list[Tensor], threads: int) -> dict[str, Work]:
    rows, columns = weights[0].shape
    stored = [deepgemm(w) for w in weights]
    sources = [Matrix("e4m3fn", bytes_of(codes), bytes_of(scales), (128, 128)) for codes, scales in stored]
    ours = Ours(
        sources, Matrix("int8", bytearray(rows * columns), bytearray(4 * rows), (1, 0)), "f32", (rows, columns), threads
    )

    def streaming(copy: int) -> None:
        codes, scales = stored[copy]
        for row in range(0, rows, 128):
            block = codes[row : row + 128].float().view(128, -1, 128) * scales[row // 128][:, None]
            per_channel(block.view(128, columns))

    return {
        "ours": lambda copy: ours.run(copy, checked=False),
        "ours, compared": lambda copy: ours.run(copy, checked=True),
        "memcpy, 2 bytes a weight": copying(2 * rows * columns),
        "plain PyTorch by way of bf16": lambda c: per_channel(dequantized(*stored[c], torch.bfloat16).float()),
        "plain PyTorch, 128 rows at a time": streaming,
    }


def show(title: str, works: dict[str, Work], nbytes: int, rounds: int, threads: int) -> None:
    seconds = minima(works, COPIES, rounds, clock_of(threads))
    limit = next(value for name, value in seconds.items() if name.startswith("memcpy"))
    print(f"\n{title}, {threads} thread{'s' * (threads > 1)}", flush=True)
    for name, taken in seconds.items():
        ratio = taken / seconds["ours"]
        print(f"  {name:36} {nbytes / taken / 1e9:7.3f} GB/s   ours is {ratio:6.2f}x   {limit / taken:6.1%} of memcpy")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=4096)
    options = parser.parse_args()
    there = peers.python("peers")
    if there and Path(sys.prefix) != there.parents[1]:
        sys.exit(subprocess.run([there, *sys.argv]).returncode)
    torch.manual_seed(0)
    weights = [(torch.randn(options.size, options.size) * 0.02).bfloat16() for _ in range(COPIES)]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            count = options.size**2
            show("bf16 → fp8-ue8m0, of bf16", to_fp8(weights, threads), 2 * count, options.rounds, threads)
            show("fp8-ue8m0 → int8-channel, of fp8", to_int8(weights, threads), count, options.rounds, threads)


if __name__ == "__main__":
    main()
