"""Pieces of attention kernels: tiles of rows in one or two parts, and which keys a row sees.

Rows are d wide; a tile holds FIRST + SECOND columns of them, both powers of two, SECOND 0 where one part is enough.
"""

import triton
import triton.language as tl


@triton.jit
def part(rows: tl.tensor, mask: tl.tensor, D: tl.constexpr, FROM: tl.constexpr, WIDTH: tl.constexpr) -> tl.tensor:
    """[rows, WIDTH] of the rows that the pointers `rows` begin, from column FROM on; 0 beyond D."""
    column = FROM + tl.arange(0, WIDTH)
    return tl.load(rows[:, None] + column[None, :], mask=mask[:, None] & (column < D)[None, :], other=0.0)


@triton.jit
def put(
    rows: tl.tensor, mask: tl.tensor, tile: tl.tensor, D: tl.constexpr, FROM: tl.constexpr, WIDTH: tl.constexpr
) -> None:
    column = FROM + tl.arange(0, WIDTH)
    to = rows[:, None] + column[None, :]
    tl.store(to, tile.to(rows.dtype.element_ty), mask=mask[:, None] & (column < D)[None, :])


@triton.jit
def product(a0: tl.tensor, a1: tl.tensor, b0: tl.tensor, b1: tl.tensor, SECOND: tl.constexpr) -> tl.tensor:
    """[m, n] of a [m, d] and b [n, d]."""
    found = tl.dot(a0, tl.trans(b0), input_precision="ieee")
    if SECOND > 0:
        found += tl.dot(a1, tl.trans(b1), input_precision="ieee")
    return found


@triton.jit
def last_key(at: tl.tensor, LENGTH: tl.constexpr, STRIDE: tl.constexpr) -> tl.tensor:
    """The last key whose tokens, LENGTH from key · STRIDE on, are not after position `at`. -1: none."""
    return tl.where(at + 1 >= LENGTH, (at + 1 - LENGTH) // STRIDE, -1)


@triton.jit
def first_key(at: tl.tensor, WINDOW: tl.constexpr) -> tl.tensor:
    """The first key inside the window; 0: no window."""
    return tl.maximum(at - WINDOW + 1, 0) if WINDOW > 0 else at * 0
