"""Linear layers of 8-bit weights on the processor: linear.cpp for few tokens, PyTorch's matrix product for many."""

import ctypes
from collections.abc import Callable
from functools import cache
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import linear

from xinqiao.native import processor
from xinqiao.native.kernels import kernels
from xinqiao.ops.reference.linear import ACTIVATIONS, Block

DTYPES = frozenset((torch.float32, torch.bfloat16, torch.float16))
NUMBERS = {torch.float32: 0, torch.bfloat16: 1}
FEW = 32  # tokens, up to which decoding the weights again for every eight of them is faster than a matrix product
VALUES = 1 << 22  # weights that are numbers at a time
EXACT = 65536  # features of int8 whose products always add up in 32 bits


class Fp8Weights(ctypes.Structure):
    """As in linear_scales.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("codes", "scales")),
        *((name, ctypes.c_int64) for name in ("n", "k")),
        *((name, ctypes.c_int32) for name in ("scale_bytes", "block_rows", "block_columns")),
    )


class Int8Weights(ctypes.Structure):
    """As in linear.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("codes", "scales")),
        *((name, ctypes.c_int64) for name in ("n", "k")),
    )


class Call(ctypes.Structure):
    """As in linear.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "bias", "y")),
        ("tokens", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("x_number", "bias_number", "y_number", "threads")),
    )


class Part(ctypes.Structure):
    """As in linear_convert.h."""

    _fields_ = tuple((name, ctypes.c_int64) for name in ("row", "rows", "column", "columns"))


@cache
def library(level: str | None = None) -> ctypes.CDLL:
    """linear.cpp, compiled for a set of instructions, or for the best that this processor has."""
    return kernels("linear", level)


def linear_block_fp8(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, block: Block, activation: str | None
) -> Tensor:
    if x.dtype == torch.float16:
        return linear_block_fp8(x.float(), weight, scale, bias, block, activation).half()
    x, weight, scale = x.contiguous(), weight.contiguous(), scale.contiguous()
    held = fp8_weights(weight, scale, block)
    source = x if activation is None else _rounded(x, ACTIVATIONS[activation])
    tokens = x.shape[:-1].numel()
    if tokens > FEW and library().xq_linear_plain(ctypes.byref(held)):
        return _many(source.view(tokens, held.k), held, bias, x.dtype).view(*x.shape[:-1], held.n)
    return few(library().xq_linear_fp8, held, source, bias, x.dtype)


def linear_block_fp8_backward(gradient: Tensor, weight: Tensor, scale: Tensor, block: Block) -> Tensor:
    weight, scale = weight.contiguous(), scale.contiguous()
    held = fp8_weights(weight, scale, block)
    n, k = weight.shape
    rows = gradient.reshape(gradient.shape[:-1].numel(), n)
    wide = _wide(gradient.dtype, held)
    found = gradient.new_empty(len(rows), k)
    width = max(128, VALUES // max(1, n) // 128 * 128)
    for first in range(0, k, width):
        part = Part(0, n, first, min(width, k - first))
        found[:, first : first + part.columns] = rows.to(wide) @ values(held, part, wide)
    return found.view(*gradient.shape[:-1], k)


def linear_int8(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    if x.dtype == torch.float16:
        return linear_int8(x.float(), weight, scale, bias).half()
    x, weight, scale = x.contiguous(), weight.contiguous(), scale.contiguous()
    n, k = weight.shape
    held = Int8Weights(weight.data_ptr(), scale.data_ptr(), n, k)
    tokens = x.shape[:-1].numel()
    if tokens > FEW and k <= EXACT and n and processor.levels()[0] == "avx512-bf16":
        return _many_int8(x.view(tokens, k), weight, scale, bias).view(*x.shape[:-1], n)
    return few(library().xq_linear_int8, held, x, bias, x.dtype)


def _many_int8(rows: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """With PyTorch's product of int8, which is exact where the processor adds such products in 32 bits."""
    tokens, k = rows.shape
    codes, steps = torch.empty(tokens, k, dtype=torch.int8), torch.empty(tokens, 1)
    threads = torch.get_num_threads()
    call = Call(rows.data_ptr(), None, codes.data_ptr(), tokens, NUMBERS[rows.dtype], 0, 0, threads)
    library().xq_linear_int8_tokens(ctypes.byref(call), ctypes.c_int64(k), ctypes.c_void_p(steps.data_ptr()))
    found = torch._int_mm(codes, weight.t()).float().mul_(steps * scale)
    return (found if bias is None else found.add_(bias)).to(rows.dtype)


def linear_int8_backward(gradient: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    n, k = weight.shape
    scaled = gradient.reshape(gradient.shape[:-1].numel(), n).float() * scale
    found = scaled.new_zeros(len(scaled), k)
    height = max(1, VALUES // max(1, k))
    for codes, part in zip(weight.split(height), scaled.split(height, 1), strict=True):
        found.addmm_(part, codes.float())
    return found.to(gradient.dtype).view(*gradient.shape[:-1], k)


def fp8_weights(weight: Tensor, scale: Tensor, block: Block) -> Fp8Weights:
    """Valid as long as both, which are contiguous, are."""
    return Fp8Weights(weight.data_ptr(), scale.data_ptr(), *weight.shape, scale.element_size(), *block)


def few(
    run: Callable[..., None],
    held: Fp8Weights | Int8Weights,
    x: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """[..., n] by one of linear.cpp's functions. x [..., k]: float32 or bfloat16, contiguous."""
    *tokens, _ = x.shape
    found = x.new_empty(*tokens, held.n, dtype=dtype)
    if bias is not None:
        bias = (bias if bias.dtype in NUMBERS else bias.float()).contiguous()
    call = Call(
        x.data_ptr(),
        None if bias is None else bias.data_ptr(),
        found.data_ptr(),
        prod(tokens),
        NUMBERS[x.dtype],
        0 if bias is None else NUMBERS[bias.dtype],
        NUMBERS[dtype],
        torch.get_num_threads(),
    )
    run(ctypes.byref(held), ctypes.byref(call))
    return found


def values(held: Fp8Weights, part: Part, wide: torch.dtype) -> Tensor:
    """[rows, columns] of a part, in float32 or bfloat16."""
    found = torch.empty(part.rows, part.columns, dtype=wide)
    run = library().xq_linear_f32_values if wide == torch.float32 else library().xq_linear_bf16_values
    run(ctypes.byref(held), ctypes.byref(part), ctypes.c_void_p(found.data_ptr()), torch.get_num_threads())
    return found


def _many(rows: Tensor, held: Fp8Weights, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    wide = _wide(dtype, held)
    found = rows.new_empty(len(rows), held.n, dtype=dtype)
    height = max(128, VALUES // max(1, held.k) // 128 * 128)
    for first in range(0, held.n, height):
        part = Part(first, min(height, held.n - first), 0, held.k)
        found[:, first : first + part.rows] = linear(rows.to(wide), values(held, part, wide))
    return found if bias is None else found.add_(bias)


def _wide(dtype: torch.dtype, held: Fp8Weights) -> torch.dtype:
    """What weights are multiplied as: bfloat16 where that is exact and this processor has instructions for it."""
    quick = dtype == torch.bfloat16 and processor.levels()[0] == "avx512-bf16"
    return torch.bfloat16 if quick and library().xq_linear_plain(ctypes.byref(held)) else torch.float32


def _rounded(rows: Tensor, block: int) -> Tensor:
    """bfloat16: e4m3 codes times powers of two, one for `block` features."""
    found = torch.empty_like(rows, dtype=torch.bfloat16)
    threads = torch.get_num_threads()
    call = Call(rows.data_ptr(), None, found.data_ptr(), rows.shape[:-1].numel(), NUMBERS[rows.dtype], 0, 1, threads)
    library().xq_linear_round(ctypes.byref(call), ctypes.c_int64(rows.shape[-1]), ctypes.c_int64(block))
    return found
