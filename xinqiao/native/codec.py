"""Matrices from one number format to another, compiled; see codec.cpp. Needs neither PyTorch nor NumPy.

A matrix is row-major, `rows` by `columns`; an element is its decoded code times the fp32 scale of its block.
Decoding and encoding are those of `xinqiao.formats`, to the bit, on every processor.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from xinqiao.native import processor
from xinqiao.native.build import library

Buffer = bytes | bytearray | memoryview
SOURCE = Path(__file__).with_name("codec.cpp")
ELEMENTS = (
    *("f32", "f16", "bf16", "f64", "e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0", "e2m1", "e3m2", "e2m3"),
    *("int8", "int4", "hif8", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k"),
)
BITS = {"f64": 64, "f32": 32, "f16": 16, "bf16": 16, "e2m1": 4, "int4": 4}  # any other plain element: 8
GROUPS = {  # element of GGUF: (values, bytes) of a group
    **{"q8_0": (32, 34), "q4_0": (32, 18), "q4_1": (32, 20), "q5_0": (32, 22), "q5_1": (32, 24)},
    **{"q2_k": (256, 84), "q3_k": (256, 110), "q4_k": (256, 144), "q5_k": (256, 176), "q6_k": (256, 210)},
}
SCALES = (None, "f32", "bf16", "pow2")
RULES = ("ceil", "floor", "even", "nearest")
# The same bits on every processor: no fused multiply-add, no reordered sums.
# Hidden: the libraries of two levels share nothing.
_FLAGS = (
    *("-O3", "-std=c++20", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"),
    "-fvisibility=hidden",
)


class Errors(ctypes.Structure):
    """How far stored values b are from true values a; every call adds to it.

    count        elements
    different    b is not a (two NaN are the same)
    saturated    |a| is above the largest finite value that b's format and scale have
    underflowed  b is zero and a is not
    nonfinite    a is NaN or infinite; such an element is in no sum
    signal       sum of a²
    noise        sum of (a - b)²
    largest      the largest |a - b|
    """

    count: int
    different: int
    saturated: int
    underflowed: int
    nonfinite: int
    signal: float
    noise: float
    largest: float
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("count", "different", "saturated", "underflowed", "nonfinite")),
        *((name, ctypes.c_double) for name in ("signal", "noise", "largest")),
    )


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of codes, and the scales of their blocks.

    codes   the first row begins here; rows lie `stride` bytes apart, 0: without a gap
    scales  fp32, one for each block, row after row of blocks; None: all are 1
    block   rows and columns of a block; 0: all of that dimension
    """

    element: str
    codes: Buffer
    scales: Buffer | None = None
    block: tuple[int, int] = (0, 0)
    stride: int = 0


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("codes", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("element", ctypes.c_int32),
        ("block_rows", ctypes.c_int32),
        ("block_columns", ctypes.c_int32),
    )


class _View(ctypes.Structure):  # Python's Py_buffer
    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        *((name, ctypes.c_void_p) for name in ("itemsize", "flags", "format", "shape", "strides", "sub", "internal")),
    )


@cache
def level() -> str:
    """The best set of instructions that this processor has and the kernels are compiled for.

    InputError where there is no C++ compiler.
    """
    found = levels()[0]
    _library(found)
    return found


def levels() -> Sequence[str]:
    """Every level that this processor can run, the best first; none of the formats needs more than AVX-512's base."""
    return [name for name in processor.levels() if name != "avx512-bf16"]


@cache
def _library(name: str) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(library("codec", SOURCE, (*_FLAGS, *processor.LEVELS[name].flags), (), "1")))
    matrix, size = ctypes.POINTER(_Matrix), ctypes.c_int64
    errors = ctypes.POINTER(Errors)
    loaded.xq_codec_convert.argtypes = [matrix, matrix, size, size, ctypes.c_int32, ctypes.c_int32, errors]
    loaded.xq_codec_compare.argtypes = [matrix, matrix, size, size, errors]
    loaded.xq_codec_convert.restype = loaded.xq_codec_compare.restype = None
    return loaded


def convert(
    source: Matrix,
    target: Matrix,
    rows: int,
    columns: int,
    scale: str | None,
    rule: str,
    errors: Errors | None,
    *,
    at: str | None = None,
) -> None:
    """Write `source`'s values as `target`'s codes and, where `scale` is not None, its scales.

    rows     of both; the first row of both is the first of a block
    scale    'f32', 'bf16': the block's largest magnitude becomes the format's largest value, by a scale of that
             precision; 'pow2': by a power of two under `rule`; None: codes only
    rule     'ceil', 'floor', 'even', 'nearest'; see xinqiao.formats.scales
    errors   what the stored codes, decoded again, differ by; None: not measured
    at       a level other than the best

    The call lets other Python threads run. ValueError where a buffer is too short.
    """
    with _held(source, rows, columns) as a, _held(target, rows, columns) as b:
        _library(at or level()).xq_codec_convert(
            a, b, rows, columns, SCALES.index(scale), RULES.index(rule or "ceil"), errors
        )


def compare(a: Matrix, b: Matrix, rows: int, columns: int, errors: Errors, *, at: str | None = None) -> None:
    """Add to `errors` what `b`'s values differ by from `a`'s. ValueError where a buffer is too short."""
    with _held(a, rows, columns) as first, _held(b, rows, columns) as second:
        _library(at or level()).xq_codec_compare(first, second, rows, columns, errors)


def row_bytes(element: str, columns: int) -> int:
    """Bytes of a row of codes."""
    if element in GROUPS:
        values, size = GROUPS[element]
        return -(-columns // values) * size
    return -(-columns * BITS.get(element, 8) // 8)


@contextmanager
def _held(matrix: Matrix, rows: int, columns: int) -> Iterator[_Matrix]:
    """A matrix for the length of one call: its buffers are held, and their lengths checked."""
    views: list[_View] = []

    def address(buffer: Buffer, needed: int) -> int:
        view = _View()
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(buffer), ctypes.byref(view), 0)
        views.append(view)
        if view.len < needed:
            raise ValueError(f"{matrix.element}: {view.len} bytes for a buffer of {needed}")
        return view.buf or 0

    tight = row_bytes(matrix.element, columns)
    stride = matrix.stride or tight
    height, width = matrix.block
    scales = -(-rows // (height or rows or 1)) * -(-columns // (width or columns or 1))
    try:
        yield _Matrix(
            address(matrix.codes, (rows - 1) * stride + tight if rows else 0),
            None if matrix.scales is None else address(matrix.scales, 4 * scales),
            stride,
            ELEMENTS.index(matrix.element),
            height,
            width,
        )
    finally:
        for view in views:
            ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
