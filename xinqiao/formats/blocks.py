"""Numbers in blocks that share a scale: value = decode(code) times scale, rounded once in fp32."""

from typing import NamedTuple

import torch
from torch import Tensor

from xinqiao.formats.elements import decode, encode
from xinqiao.formats.scales import power_of_two, ratio

LAYOUTS = {  # name → (rows, columns) of a block; 0: all of that dimension
    "per tensor": (0, 0),
    "per channel": (1, 0),  # of a weight [out, in]: one scale an output channel
    "per token": (1, 0),  # of activations [tokens, features]: one scale a token
    "1x128": (1, 128),  # DeepSeek's activations
    "128x128": (128, 128),  # DeepSeek's weights
    "1x32": (1, 32),  # OCP MX
}


class Quantized(NamedTuple):
    """codes: int64 [rows, columns], unsigned. scales: fp32, one for each block."""

    codes: Tensor
    scales: Tensor


class Grid(NamedTuple):
    """Rows and columns of a block, and how many blocks there are down and across."""

    height: int
    width: int
    down: int
    across: int


def grid(shape: tuple[int, int], block: tuple[int, int]) -> Grid:
    """The blocks of a matrix. block: rows and columns, 0: all of that dimension."""
    height, width = (size or max(1, whole) for size, whole in zip(block, shape, strict=True))
    return Grid(height, width, -(-shape[0] // height), -(-shape[1] // width))


def spread(scales: Tensor, shape: tuple[int, int], block: tuple[int, int]) -> Tensor:
    """Each block's scale for each of its elements, [rows, columns]."""
    height, width, _, _ = grid(shape, block)
    return scales.repeat_interleave(height, 0)[: shape[0]].repeat_interleave(width, 1)[:, : shape[1]]


def largest(values: Tensor, block: tuple[int, int]) -> Tensor:
    """The largest magnitude of each block of a matrix; NaN and infinity count as the largest finite fp32."""
    rows, columns = values.shape
    height, width, down, across = grid((rows, columns), block)
    top = torch.finfo(torch.float32).max
    padded = torch.zeros(down * height, across * width)
    padded[:rows, :columns] = torch.where(values.isfinite(), values.abs(), top)
    return padded.view(down, height, across, width).amax((1, 3))


def quantize(values: Tensor, element: str, block: tuple[int, int], scale: str | None, rule: str = "ceil") -> Quantized:
    """fp32 [rows, columns] as codes and scales.

    scale: 'f32' or 'bf16', the largest magnitude of a block becomes the format's largest value; 'pow2', by a power of
    two chosen by `rule`; None: unscaled.
    """
    if scale is None:
        return Quantized(encode(values, element), torch.ones(1, 1))
    amax = largest(values, block)
    shape = (values.shape[0], values.shape[1])
    if scale == "pow2":
        codes = power_of_two(amax, element, rule)
        inverse = decode(254 - codes, "e8m0")
        return Quantized(encode(values * spread(inverse, shape, block), element), decode(codes, "e8m0"))
    scales = ratio(amax, element, scale)
    return Quantized(encode(values / spread(scales, shape, block), element), scales)


def dequantize(codes: Tensor, scales: Tensor, element: str, block: tuple[int, int]) -> Tensor:
    """fp32 values of codes [rows, columns]."""
    shape = (codes.shape[0], codes.shape[1])
    return decode(codes, element) * spread(scales, shape, block)
