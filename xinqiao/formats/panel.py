"""The reference of the compiled kernels: the same functions on the same buffers, in plain PyTorch, and slowly.

Takes the `Matrix` and `Errors` of xinqiao.native.codec, or anything with their fields.
"""

from typing import Protocol

import torch
from torch import Tensor

from xinqiao.errors import InputError
from xinqiao.formats.blocks import dequantize, grid, quantize
from xinqiao.formats.elements import ELEMENTS

Buffer = bytes | bytearray | memoryview
_BYTES = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2}  # of a code; any other takes one byte or less


class Matrix(Protocol):
    """As xinqiao.native.codec.Matrix."""

    element: str
    codes: Buffer
    scales: Buffer | None
    block: tuple[int, int]
    stride: int


class Errors(Protocol):
    """As xinqiao.native.codec.Errors."""

    count: int
    different: int
    saturated: int
    underflowed: int
    nonfinite: int
    signal: float
    noise: float
    largest: float


def convert(
    source: Matrix, target: Matrix, rows: int, columns: int, scale: str | None, rule: str, errors: Errors | None
) -> None:
    """As xinqiao.native.codec.convert."""
    found = quantize(values(source, rows, columns), target.element, target.block, scale, rule)
    _store(target, found.codes, rows, columns)
    if scale is not None:
        assert target.scales is not None
        into = _held(target, target.scales, 4 * found.scales.numel())
        into[:] = found.scales.contiguous().numpy().tobytes()
    if errors is not None:
        compare(source, target, rows, columns, errors)


def compare(a: Matrix, b: Matrix, rows: int, columns: int, errors: Errors) -> None:
    """As xinqiao.native.codec.compare."""
    x, y = values(a, rows, columns), values(b, rows, columns)
    finite = x.isfinite()
    known = torch.where(finite, x, 0).double()
    off = torch.where(finite, x.double() - y.double(), 0)
    errors.count += x.numel()
    errors.different += int(((x != y) & ~(x.isnan() & y.isnan())).sum())
    errors.saturated += int((finite & (x.abs() > _limit(b, rows, columns))).sum())
    errors.underflowed += int((finite & (x != 0) & (y == 0)).sum())
    errors.nonfinite += int((~finite).sum())
    errors.signal += float(known.square().sum())
    errors.noise += float(off.square().sum())
    errors.largest = max(errors.largest, float(off.float().abs().max()) if off.numel() else 0.0)


def values(matrix: Matrix, rows: int, columns: int) -> Tensor:
    """The fp32 values of a matrix, [rows, columns]."""
    if matrix.element == "f64":
        return _rows(matrix, rows, columns).view(torch.float64).float()
    codes = _codes(matrix, rows, columns)
    if matrix.scales is None:
        return dequantize(codes, torch.ones(1, 1), matrix.element, (0, 0))
    return dequantize(codes, _scales(matrix, rows, columns), matrix.element, matrix.block)


def _limit(matrix: Matrix, rows: int, columns: int) -> Tensor:
    """The largest finite magnitude that each element of the matrix could have."""
    full = torch.full((rows, columns), ELEMENTS[matrix.element].largest)
    if matrix.scales is None:
        return full
    ones = dequantize(
        torch.ones(rows, columns, dtype=torch.int64), _scales(matrix, rows, columns), "int8", matrix.block
    )
    return full * ones


def _scales(matrix: Matrix, rows: int, columns: int) -> Tensor:
    _, _, down, across = grid((rows, columns), matrix.block)
    assert matrix.scales is not None
    return _bytes(matrix, matrix.scales, 4 * down * across).view(torch.float32).view(down, across)


def _held(matrix: Matrix, buffer: Buffer, needed: int) -> memoryview:
    """The first `needed` bytes of a buffer."""
    view = memoryview(buffer).cast("B")
    if len(view) < needed:
        raise ValueError(f"{matrix.element}: {len(view)} bytes for a buffer of {needed}")
    return view[:needed]


def _bytes(matrix: Matrix, buffer: Buffer, needed: int) -> Tensor:
    held = bytearray(_held(matrix, buffer, needed))
    return torch.frombuffer(held, dtype=torch.uint8) if held else torch.empty(0, dtype=torch.uint8)


def _width(element: str, columns: int) -> int:
    if element not in ELEMENTS and element != "f64":
        raise InputError(f"{element}: only the compiled kernels read this format; install a C++ compiler")
    packed = ELEMENTS[element].packed if element in ELEMENTS else 1
    return -(-columns // packed) * _BYTES.get(element, 1)


def _rows(matrix: Matrix, rows: int, columns: int) -> Tensor:
    """The stored bytes of each row, uint8 [rows, bytes]."""
    width = _width(matrix.element, columns)
    stride = matrix.stride or width
    stored = _bytes(matrix, matrix.codes, (rows - 1) * stride + width if rows else 0)
    return stored.as_strided((rows, width), (stride, 1)).contiguous()


def _codes(matrix: Matrix, rows: int, columns: int) -> Tensor:
    stored = _rows(matrix, rows, columns)
    wide = {4: torch.int32, 2: torch.int16}.get(_BYTES.get(matrix.element, 1))
    if wide is not None:
        return stored.view(wide)[:, :columns].to(torch.int64)
    if ELEMENTS[matrix.element].packed == 2:
        return torch.stack((stored & 15, stored >> 4), 2).flatten(1)[:, :columns].to(torch.int64)
    return stored[:, :columns].to(torch.int64)


def _store(matrix: Matrix, codes: Tensor, rows: int, columns: int) -> None:
    wide = {4: torch.int32, 2: torch.int16}.get(_BYTES.get(matrix.element, 1), torch.uint8)
    if ELEMENTS[matrix.element].packed == 2:
        even = torch.nn.functional.pad(codes, (0, columns % 2))
        codes = even[:, 0::2] | even[:, 1::2] << 4
    stored = codes.to(wide).contiguous().view(torch.uint8)
    width = stored.shape[1]
    stride = matrix.stride or width
    into = _held(matrix, matrix.codes, (rows - 1) * stride + width if rows else 0)
    for row in range(rows):
        into[row * stride : row * stride + width] = stored[row].numpy().tobytes()
