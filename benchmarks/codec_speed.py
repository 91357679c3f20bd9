"""GB/s of the number-format kernels, one thread, per pair of formats and level: codes only, and with errors measured.

What counts is the source's bytes (compare: both matrices'). Least thread CPU time of several rounds; `copy` is how fast
bytes move that are as many as bf16 to a format of one byte reads and writes.
"""

import time
from collections.abc import Callable

import torch

from xinqiao.native import codec
from xinqiao.native.codec import Errors, Matrix

SHAPES = [(4096, 4096), (2048, 7168)]
ROUNDS = 7


def seconds(work: Callable[[], object]) -> float:
    found = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        work()
        found.append(time.thread_time() - start)
    return min(found)


def empty(element: str, rows: int, columns: int, block: tuple[int, int] | None) -> Matrix:
    codes = bytearray(rows * codec.row_bytes(element, columns))
    if block is None:
        return Matrix(element, codes)
    height, width = block[0] or rows, block[1] or columns
    return Matrix(element, codes, bytearray(4 * -(-rows // height) * -(-columns // width)), block)


def measure(rows: int, columns: int, level: str) -> None:
    weights = (torch.randn(rows, columns) * 0.02).bfloat16()
    bf16 = Matrix("bf16", memoryview(weights.view(torch.uint8).numpy()).cast("B"))
    fp8 = empty("e4m3fn", rows, columns, (128, 128))
    codec.convert(bf16, fp8, rows, columns, "pow2", "ceil", None, at=level)
    pairs = [
        ("bf16 to e4m3fn 128x128 pow2", bf16, empty("e4m3fn", rows, columns, (128, 128)), "pow2"),
        ("bf16 to e4m3fn 128x128 f32", bf16, empty("e4m3fn", rows, columns, (128, 128)), "f32"),
        ("bf16 to e4m3fn 1x32 pow2", bf16, empty("e4m3fn", rows, columns, (1, 32)), "pow2"),
        ("bf16 to e2m1 1x32 pow2", bf16, empty("e2m1", rows, columns, (1, 32)), "pow2"),
        ("bf16 to int8 per channel", bf16, empty("int8", rows, columns, (1, 0)), "f32"),
        ("bf16 to f16", bf16, empty("f16", rows, columns, None), None),
        ("e4m3fn to int8 per channel", fp8, empty("int8", rows, columns, (1, 0)), "f32"),
        ("e4m3fn to bf16", fp8, empty("bf16", rows, columns, None), None),
    ]
    for name, source, target, scale in pairs:

        def run(errors: Errors | None, a: Matrix = source, b: Matrix = target, scale: str | None = scale) -> None:
            codec.convert(a, b, rows, columns, scale, "ceil", errors, at=level)

        size = len(source.codes) / 1e9
        print(f"  {name:30} {size / seconds(lambda: run(None)):6.2f} {size / seconds(lambda: run(Errors())):6.2f}")
    size = (len(bf16.codes) + len(fp8.codes)) / 1e9
    spent = seconds(lambda: codec.compare(bf16, fp8, rows, columns, Errors(), at=level))
    print(f"  {'compare bf16 with e4m3fn':30} {'':6} {size / spent:6.2f}")


def copying(rows: int, columns: int) -> float:
    moved = torch.empty(rows * columns * 3 // 2, dtype=torch.uint8)
    into = torch.empty_like(moved)
    return 2 * rows * columns / 1e9 / seconds(lambda: into.copy_(moved))


def main() -> None:
    torch.set_num_threads(1)
    for rows, columns in SHAPES:
        print(f"{rows} x {columns}; copy: {copying(rows, columns):.1f}")
        for level in codec.levels():
            print(f" {level}: codes only, with errors")
            measure(rows, columns, level)


if __name__ == "__main__":
    main()
