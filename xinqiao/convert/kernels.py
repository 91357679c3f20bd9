"""The functions that turn one number format into another: compiled ones, or their plain PyTorch reference."""

import sys
from functools import cache
from importlib import import_module
from types import ModuleType

from xinqiao.errors import InputError
from xinqiao.native import codec
from xinqiao.native.codec import Buffer, Errors, Matrix

__all__ = ["Buffer", "Errors", "Matrix", "compare", "kernels", "recode"]


@cache
def kernels() -> ModuleType:
    """The compiled kernels; the reference, many times slower, where there is no C++ compiler (said once)."""
    try:
        codec.level()
    except InputError as error:
        print(f"xinqiao: {error}; going on with the reference, which is many times slower", file=sys.stderr)
        return import_module("xinqiao.formats.panel")
    return codec


def recode(source: Matrix, target: Matrix, rows: int, columns: int) -> None:
    """Write `source`'s values as `target`'s codes, which have no scales of their own."""
    kernels().convert(source, target, rows, columns, None, "", None)


def compare(a: Matrix, b: Matrix, rows: int, columns: int) -> Errors:
    """What `b`'s values differ by from `a`'s."""
    errors = Errors()
    kernels().compare(a, b, rows, columns, errors)
    return errors
