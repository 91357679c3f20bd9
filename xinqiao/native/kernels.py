"""Compiled operators as libraries that ctypes calls: built at first use, one for each set of instructions."""

import ctypes
from functools import cache
from pathlib import Path

from xinqiao.native.build import library
from xinqiao.native.processor import LEVELS, levels

# -ffp-contract=off: a product and a sum are fused where the source says so, and nowhere else.
FLAGS = (
    *("-O3", "-std=c++20", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"),
    *("-fvisibility=hidden", "-fopenmp"),
)


@cache
def kernels(name: str, at: str | None = None) -> ctypes.CDLL:
    """The library of `<name>.cpp` beside this file. at: a level other than the best of this processor.

    Its threads are PyTorch's own: both are linked to the same OpenMP library. InputError where it cannot be compiled.
    """
    flags = (*FLAGS, *LEVELS[at or levels()[0]].flags)
    return ctypes.CDLL(str(library(name, Path(__file__).with_name(f"{name}.cpp"), flags, (), "1")))
