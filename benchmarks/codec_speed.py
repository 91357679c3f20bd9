"""How fast the kernels convert, on one thread: GB/s for every level of this processor, beside memcpy of the same bytes.

python benchmarks/codec_speed.py [--rows N] [--columns N] [--rounds N]

GB/s count the source's codes (of a comparison, both matrices' codes). The least thread CPU time of all rounds counts;
levels and pairs take turns. The matrix is larger than the second-level cache.
"""

import argparse
import ctypes
import time
from array import array
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from xinqiao.native import codec
from xinqiao.native.codec import Errors, Matrix

Call = Callable[[str, Errors | None], None]


class Work(NamedTuple):
    name: str
    bytes: int  # that GB/s count
    call: Call
    measured: bool  # with and without errors


class Size(NamedTuple):
    rows: int
    columns: int

    def __int__(self) -> int:
        return self.rows * self.columns


def normal_bf16(size: Size) -> bytes:
    """Codes of Gaussian weights, a million of them repeated."""
    random = Random(0)
    some = array("f", (random.gauss(0, 0.02) for _ in range(1 << 16)))
    codes = bytearray(2 * len(some))
    codec.convert(Matrix("f32", some.tobytes()), Matrix("bf16", codes), 1, len(some), None, "", None)
    return (bytes(codes) * (2 * int(size) // len(codes) + 1))[: 2 * int(size)]


def matrix(element: str, size: Size, block: tuple[int, int] | None) -> Matrix:
    codes = bytearray(size.rows * codec.row_bytes(element, size.columns))
    if block is None:
        return Matrix(element, codes)
    height, width = block[0] or size.rows, block[1] or size.columns
    return Matrix(element, codes, bytearray(4 * -(-size.rows // height) * -(-size.columns // width)), block)


def conversions(size: Size) -> Iterator[Work]:
    def work(source: Matrix, element: str, block: tuple[int, int] | None, scale: str | None) -> tuple[Work, Matrix]:
        target = matrix(element, size, block)

        def call(at: str, errors: Errors | None) -> None:
            codec.convert(source, target, *size, scale, "ceil", errors, at=at)

        call(codec.level(), None)
        words = f"{source.element} → {element} {scale or ''} {block or ''}"
        return Work(words, len(source.codes), call, measured=True), target

    bf16 = Matrix("bf16", normal_bf16(size))
    first, fp8 = work(bf16, "e4m3fn", (128, 128), "pow2")
    yield first

    def compare(at: str, errors: Errors | None) -> None:
        codec.compare(bf16, fp8, *size, errors or Errors(), at=at)

    yield Work("bf16 against e4m3fn (128, 128)", len(bf16.codes) + len(fp8.codes), compare, measured=False)
    for source, element, block, scale in (
        (fp8, "int8", (1, 0), "f32"),
        (fp8, "bf16", None, None),
        (bf16, "int8", (1, 0), "f32"),
        (bf16, "int8", (128, 128), "f32"),
        (bf16, "e4m3fn", (128, 128), "f32"),
        (bf16, "e4m3fn", (1, 32), "pow2"),
        (bf16, "e2m1", (1, 32), "pow2"),
        (bf16, "hif8", (128, 128), "f32"),
        (bf16, "f16", None, None),
    ):
        yield work(source, element, block, scale)[0]


def seconds(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--columns", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    size, levels = Size(options.rows, options.columns), codec.levels()
    works = list(conversions(size))
    best: dict[tuple[str, str, bool], float] = {}
    there, here = (ctypes.create_string_buffer(3 * int(size) // 2) for _ in range(2))
    copy = min(seconds(lambda: ctypes.memmove(there, here, len(here))) for _ in range(options.rounds))
    for _ in range(options.rounds):
        for level in levels:
            for work in works:
                for measured in (False, True)[: 1 + work.measured]:
                    key = (work.name, level, measured)
                    errors = Errors() if measured else None
                    took = seconds(lambda w=work, at=level, e=errors: w.call(at, e))
                    best[key] = min(took, best.get(key, took))
    limit = 2 * int(size) / copy / 1e9
    print(f"{size.rows} by {size.columns}; memcpy of 3 bytes an element: {limit:.1f} GB/s of bf16")
    print(f"{'GB/s (with errors)':44}" + "".join(f"{level:>16}" for level in levels))
    for work in works:
        cells = []
        for level in levels:
            cell = f"{work.bytes / best[work.name, level, False] / 1e9:.2f}"
            if work.measured:
                cell += f" ({work.bytes / best[work.name, level, True] / 1e9:.2f})"
            cells.append(f"{cell:>16}")
        print(f"{work.name:44}" + "".join(cells))


if __name__ == "__main__":
    main()
