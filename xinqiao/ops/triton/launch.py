"""A kernel's launch as data: it can be run, compiled for a chip that is not there, and held against a chip's memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NAMES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.uint8: "u8",
    torch.int8: "i8",
    torch.int32: "i32",
    torch.int64: "i64",
}
Argument = Tensor | int | float | None
Arguments = dict[str, Argument]
Constants = dict[str, int | bool | None]


@dataclass(frozen=True, slots=True)
class Launch:
    """kernel: a function under `triton.jit`, which runs once for each place in `grid`.

    arguments  its pointers (contiguous tensors), None where there is none, and numbers
    constants  what it is compiled for
    exact      products and sums stay as they are written: none is fused
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: Mapping[str, Argument]
    constants: Mapping[str, int | bool | None]
    warps: int = 4
    stages: int = 2
    exact: bool = False

    def run(self) -> None:
        if 0 in self.grid:
            return
        self.kernel[self.grid](
            **self.arguments,
            **self.constants,
            num_warps=self.warps,
            num_stages=self.stages,
            enable_fp_fusion=not self.exact,
        )

    def signature(self) -> dict[str, str]:
        """Triton's names for the types of the arguments: what ahead-of-time compilation takes."""
        given = {name: _type(value) for name, value in self.arguments.items()} | dict.fromkeys(
            self.constants, "constexpr"
        )
        return {name: given[name] for name in self.kernel.arg_names}

    def constexprs(self) -> dict[str, int | bool | None]:
        absent = {name: None for name, value in self.arguments.items() if value is None}
        return {**self.constants, **absent}


def _type(value: Argument) -> str:
    if value is None:
        return "constexpr"
    if isinstance(value, Tensor):
        return "*" + NAMES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def above(size: int, least: int = 16) -> int:
    """The smallest power of two that is at least `size` and `least`."""
    return max(least, 1 << (size - 1).bit_length())


def split(size: int) -> tuple[int, int]:
    """Widths of the one or two tiles that hold `size` columns: 192 is 128 + 64, where one tile would be 256."""
    if above(size) == size or size < 32:
        return above(size), 0
    first = 1 << (size.bit_length() - 1)
    return (first, above(size - first)) if above(size - first) < first else (2 * first, 0)


def ceil(a: int, b: int) -> int:
    return -(-a // b)
