"""A few numbers that stand for a tensor's values; see fingerprint.cpp."""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

from xinqiao.native.build import library

SOURCE = Path(__file__).with_name("fingerprint.cpp")
SKETCHES = 2
KINDS = {"float32": 0, "bfloat16": 1, "float16": 2, "float64": 3, "complex64": 0, "complex128": 3}
OTHER = 4  # a hash only
# The same numbers on every processor: no fused multiply-add.
_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-std=c++20", "-fPIC", "-shared")


class Fingerprint(ctypes.Structure):
    """Of one or more tensors. hash: equal only where every bit is. square: sum of squares. sketch: sums with signs."""

    _fields_ = (
        ("hash", ctypes.c_uint64),
        ("blocks", ctypes.c_uint64),
        ("square", ctypes.c_double),
        ("sketch", ctypes.c_double * SKETCHES),
    )

    def add(self, address: int, count: int, itemsize: int, dtype: str) -> None:
        """Take in `count` elements of `itemsize` bytes that lie one after the other in host memory at `address`."""
        parts = 2 if dtype.startswith("complex") else 1
        kernel()(address, count * parts, itemsize // parts, KINDS.get(dtype, OTHER), ctypes.byref(self))


@cache
def kernel() -> Callable[..., None]:
    """The C function xq_fingerprint(data, count, itemsize, kind, fingerprint), compiled at first use."""
    function = ctypes.CDLL(str(library("fingerprint", SOURCE, _FLAGS, (), "1"))).xq_fingerprint
    number = ctypes.c_int64
    function.argtypes = [ctypes.c_void_p, number, number, ctypes.c_int, ctypes.POINTER(Fingerprint)]
    function.restype = None
    return function
