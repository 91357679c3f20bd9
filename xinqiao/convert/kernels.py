"""The functions that turn one number format into another: compiled ones, or their plain PyTorch reference."""

import sys
from functools import cache
from importlib import import_module
from typing import Protocol, cast

from xinqiao.errors import InputError

Buffer = bytes | bytearray | memoryview


class Errors(Protocol):
    """How far the second of two matrices is from the first, added up over calls; see native/codec.py."""

    count: int
    different: int
    saturated: int
    underflowed: int
    nonfinite: int
    signal: float
    noise: float
    largest: float


class Matrix(Protocol):
    """Rows of codes, and the scales of their blocks."""


class Kernels(Protocol):
    """What native/codec.py and formats/panel.py both are."""

    def Errors(self) -> Errors: ...

    def Matrix(
        self,
        element: str,
        codes: Buffer,
        scales: Buffer | None = None,
        block: tuple[int, int] = (0, 0),
        stride: int = 0,
    ) -> Matrix: ...

    def convert(
        self,
        source: Matrix,
        target: Matrix,
        rows: int,
        columns: int,
        scale: str | None,
        rule: str,
        errors: Errors | None,
    ) -> None: ...

    def compare(self, a: Matrix, b: Matrix, rows: int, columns: int, errors: Errors) -> None: ...


@cache
def kernels() -> Kernels:
    """The compiled kernels; the reference, many times slower, where there is no C++ compiler (said once)."""
    from xinqiao.native import codec

    try:
        codec.level()
    except InputError as error:
        print(f"xinqiao: {error}; going on with the reference, which is many times slower", file=sys.stderr)
        return cast(Kernels, import_module("xinqiao.formats.panel"))
    return cast(Kernels, codec)
