"""Kernels of linear layers: x [m, k] times weights [n, k], or [experts, n, k] with rows sorted by expert."""

import triton
import triton.language as tl

from xinqiao.ops.triton.arithmetic import WHOLE, e4m3, power_of_two, scale_bits, to_e4m3


@triton.jit
def place(ends: tl.tensor, m: tl.tensor, EXPERTS: tl.constexpr, TILE: tl.constexpr) -> tl.tensor:
    """(expert, first row, end of its rows) of this program's tile; first ≥ end where it has nothing to do.

    Every expert's rows are cut into tiles of their own.
    """
    program = tl.program_id(0)
    expert = program * 0
    first = program * TILE
    end = m
    if EXPERTS > 0:
        before = 0
        row = 0
        first = m
        for i in range(EXPERTS):
            stop = tl.load(ends + i).to(tl.int32)
            tiles = (stop - row + TILE - 1) // TILE
            mine = (program >= before) & (program < before + tiles)
            expert = tl.where(mine, i, expert)
            first = tl.where(mine, row + (program - before) * TILE, first)
            end = tl.where(mine, stop, end)
            before += tiles
            row = stop
    return expert, first, end


@triton.jit
def codes(weight: tl.tensor) -> tl.tensor:
    """fp32 of e4m3 bytes or of whole numbers."""
    return e4m3(weight) if weight.dtype == tl.uint8 else weight.to(tl.float32)


@triton.jit
def scales(pointer: tl.tensor, offsets: tl.tensor, mask: tl.tensor, BYTES: tl.constexpr) -> tl.tensor:
    """fp32 scales, of fp32 or of e8m0 bytes."""
    found = tl.load(pointer + offsets, mask=mask, other=0)
    return power_of_two(found) if BYTES else found


@triton.jit
def multiply(
    x: tl.tensor,
    exponents: tl.tensor,
    weight: tl.tensor,
    scale: tl.tensor,
    bias: tl.tensor,
    ends: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    EXPERTS: tl.constexpr,
    SCALED: tl.constexpr,
    BYTES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    EACH: tl.constexpr,
    QUANTISED: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_N: tl.constexpr,
    TILE_K: tl.constexpr,
) -> None:
    """out = x · (weight · scale)ᵀ + bias. A tile of k lies in one block of the scales, which multiply its sum; or they
    multiply EACH weight.

    exponents  bytes [m, ceil(k / QUANTISED)] of the scales that x is rounded to e4m3 under; QUANTISED is 0 for none
    """
    expert, first, end = place(ends, m, EXPERTS, TILE_M)
    if first < end:
        row = first + tl.arange(0, TILE_M)
        column = tl.program_id(1) * TILE_N + tl.arange(0, TILE_N)
        rows, columns = row < end, column < n
        blocks = (n + BLOCK_N - 1) // BLOCK_N
        width = (k + BLOCK_K - 1) // BLOCK_K
        x_row = x + row.to(tl.int64)[:, None] * k
        weight_row = weight + (expert.to(tl.int64) * n + column)[:, None] * k
        total = tl.zeros([TILE_M, TILE_N], tl.float32)
        for start in range(0, k, TILE_K):
            at = start + tl.arange(0, TILE_K)
            a = tl.load(x_row + at[None, :], mask=rows[:, None] & (at < k)[None, :], other=0.0)
            w = tl.load(weight_row + at[None, :], mask=columns[:, None] & (at < k)[None, :], other=0)
            if QUANTISED > 0:
                offset = row * ((k + QUANTISED - 1) // QUANTISED) + start // QUANTISED
                unit = power_of_two(tl.load(exponents + offset, mask=rows, other=127))
                a = to_e4m3(a.to(tl.float32) / unit[:, None]).to(tl.float16)
            block = (expert * blocks + column // BLOCK_N) * width
            b = codes(w) if SCALED else w
            if EACH:
                live = columns[:, None] & (at < k)[None, :]
                b = b * scales(scale, block[:, None] + (at // BLOCK_K)[None, :], live, BYTES)
                part = tl.dot(a.to(tl.float32), tl.trans(b), input_precision="ieee")
            else:
                part = tl.dot(a, tl.trans(b.to(a.dtype)), input_precision="ieee")
            if QUANTISED > 0:
                part = part * unit[:, None]
            if SCALED and not EACH:
                part = part * scales(scale, block + start // BLOCK_K, columns, BYTES)[None, :]
            total += part
        if bias is not None:
            total += tl.load(bias + expert * n + column, mask=columns, other=0.0).to(tl.float32)[None, :]
        to = out + row.to(tl.int64)[:, None] * n + column[None, :]
        tl.store(to, total.to(out.dtype.element_ty), mask=rows[:, None] & columns[None, :])


@triton.jit
def multiply_back(
    grad: tl.tensor,
    weight: tl.tensor,
    scale: tl.tensor,
    ends: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    EXPERTS: tl.constexpr,
    SCALED: tl.constexpr,
    BYTES: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    EACH: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_N: tl.constexpr,
    TILE_K: tl.constexpr,
) -> None:
    """out [m, k] = grad [m, n] · weight · scale. A tile of n lies in one block, or scales multiply EACH weight."""
    expert, first, end = place(ends, m, EXPERTS, TILE_M)
    if first < end:
        row = first + tl.arange(0, TILE_M)
        column = tl.program_id(1) * TILE_K + tl.arange(0, TILE_K)
        rows, columns = row < end, column < k
        blocks = (n + BLOCK_N - 1) // BLOCK_N
        width = (k + BLOCK_K - 1) // BLOCK_K
        grad_row = grad + row.to(tl.int64)[:, None] * n
        total = tl.zeros([TILE_M, TILE_K], tl.float32)
        for start in range(0, n, TILE_N):
            at = start + tl.arange(0, TILE_N)
            live = at < n
            a = tl.load(grad_row + at[None, :], mask=rows[:, None] & live[None, :], other=0.0)
            from_row = (expert.to(tl.int64) * n + at)[:, None] * k + column[None, :]
            b = tl.load(weight + from_row, mask=live[:, None] & columns[None, :], other=0)
            if SCALED:
                block = (expert * blocks + at // BLOCK_N) * width
                if EACH:  # in fp32, where the product has room
                    offset = block[:, None] + (column // BLOCK_K)[None, :]
                    b = codes(b) * scales(scale, offset, live[:, None] & columns[None, :], BYTES)
                    total += tl.dot(a.to(tl.float32), b, input_precision="ieee")
                else:
                    offset = (expert * blocks + start // BLOCK_N) * width + column // BLOCK_K
                    part = tl.dot(a, codes(b).to(a.dtype), input_precision="ieee")
                    total += part * scales(scale, offset, columns, BYTES)[None, :]
            else:
                total += tl.dot(a, b, input_precision="ieee")
        to = out + row.to(tl.int64)[:, None] * k + column[None, :]
        tl.store(to, total.to(out.dtype.element_ty), mask=rows[:, None] & columns[None, :])


@triton.jit
def largest(
    x: tl.tensor, exponents: tl.tensor, m: tl.tensor, k: tl.tensor, BLOCK: tl.constexpr, TILE: tl.constexpr
) -> None:
    """exponents [m, ceil(k / BLOCK)]: the byte of each block's e8m0 scale."""
    row = tl.program_id(0) * TILE + tl.arange(0, TILE)
    block = tl.program_id(1)
    at = block * BLOCK + tl.arange(0, BLOCK)
    mask = (row < m)[:, None] & (at < k)[None, :]
    a = tl.load(x + row.to(tl.int64)[:, None] * k + at[None, :], mask=mask, other=0.0).to(tl.float32)
    bits = scale_bits(tl.max(tl.abs(a), 1))
    tl.store(exponents + row * ((k + BLOCK - 1) // BLOCK) + block, bits.to(tl.uint8), mask=row < m)


@triton.jit
def to_int8(x: tl.tensor, values: tl.tensor, unit: tl.tensor, m: tl.tensor, k: tl.tensor, TILE: tl.constexpr) -> None:
    """Rows of x as whole numbers from -127 to 127 times unit [m] = max |x| / 127, ties to even.

    unit is NaN for a row that holds an infinity or NaN.
    """
    row = tl.program_id(0).to(tl.int64)
    peak = tl.zeros([TILE], tl.float32)
    for start in range(0, k, TILE):
        at = start + tl.arange(0, TILE)
        peak = tl.maximum(peak, tl.abs(tl.load(x + row * k + at, mask=at < k, other=0.0).to(tl.float32)))
    step = tl.max(tl.div_rn(peak, 127.0), 0)  # division keeps the order, and not every compiler divides a lone number
    step = tl.where(step == 0.0, 1.0, step)
    lost = tl.zeros([TILE], tl.int32)
    for start in range(0, k, TILE):
        at = start + tl.arange(0, TILE)
        a = tl.load(x + row * k + at, mask=at < k, other=0.0).to(tl.float32)
        lost = tl.where(tl.abs(a) < float("inf"), lost, 1)
        a = tl.div_rn(a, tl.zeros([TILE], tl.float32) + step)
        a = tl.where(a > 127.0, 127.0, tl.where(a < -127.0, -127.0, tl.where(a == a, a, 0.0)))
        tl.store(values + row * k + at, ((a + WHOLE) - WHOLE).to(tl.int8), mask=at < k)
    tl.store(unit + row, tl.where(tl.max(lost, 0) == 1, float("nan"), step))


@triton.jit
def multiply_int8(
    x: tl.tensor,
    unit: tl.tensor,
    weight: tl.tensor,
    scale: tl.tensor,
    bias: tl.tensor,
    ends: tl.tensor,
    out: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    EXPERTS: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_N: tl.constexpr,
    TILE_K: tl.constexpr,
) -> None:
    """out = unit · (x · weightᵀ) · scale + bias; the sum is one of whole numbers, exact."""
    expert, first, end = place(ends, m, EXPERTS, TILE_M)
    if first < end:
        row = first + tl.arange(0, TILE_M)
        column = tl.program_id(1) * TILE_N + tl.arange(0, TILE_N)
        rows, columns = row < end, column < n
        x_row = x + row.to(tl.int64)[:, None] * k
        weight_row = weight + (expert.to(tl.int64) * n + column)[:, None] * k
        total = tl.zeros([TILE_M, TILE_N], tl.int32)
        for start in range(0, k, TILE_K):
            at = start + tl.arange(0, TILE_K)
            a = tl.load(x_row + at[None, :], mask=rows[:, None] & (at < k)[None, :], other=0)
            b = tl.load(weight_row + at[None, :], mask=columns[:, None] & (at < k)[None, :], other=0)
            total += tl.dot(a, tl.trans(b), out_dtype=tl.int32)
        by = tl.load(unit + row, mask=rows, other=0.0)[:, None]
        by = by * tl.load(scale + expert * n + column, mask=columns, other=0.0)[None, :]
        found = total.to(tl.float32) * by
        if bias is not None:
            found += tl.load(bias + expert * n + column, mask=columns, other=0.0).to(tl.float32)[None, :]
        to = out + row.to(tl.int64)[:, None] * n + column[None, :]
        tl.store(to, found.to(out.dtype.element_ty), mask=rows[:, None] & columns[None, :])
