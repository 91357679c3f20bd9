"""Matrices of 8-bit weights for tests, and what they stand for, in fp64 by NumPy and ml_dtypes."""

from math import ceil
from typing import NamedTuple

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

SCALES = ("powers", "e8m0", "bytes", "common", "any")


class Weights(NamedTuple):
    codes: Tensor  # [n, k]
    scale: Tensor
    values: Tensor  # fp64 [n, k]


def fp8(n: int, k: int, block: tuple[int, int] = (128, 128), kind: str = "powers", seed: int = 0) -> Weights:
    """Random finite codes, and scales: fp32 powers of two, the same as e8m0 or bytes, times one number, or any fp32."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (n, k)).astype(np.uint8)
    codes[(codes & 127) == 127] = 0  # NaN
    exponents = random.integers(110, 124, (ceil(n / block[0]), ceil(k / block[1]))).astype(np.uint8)
    values = np.exp2(exponents.astype(np.float64) - 127).astype(np.float32)
    if kind == "common":
        values *= np.float32(1.32287561893)
    if kind == "any":
        values *= random.uniform(1, 2, values.shape).astype(np.float32)
    stored = {"e8m0": torch.from_numpy(exponents).view(torch.float8_e8m0fnu), "bytes": torch.from_numpy(exponents)}
    scale = stored.get(kind, torch.from_numpy(values))
    return weights(codes, scale, np.repeat(np.repeat(values, block[0], 0), block[1], 1)[:n, :k])


def weights(codes: np.ndarray, scale: Tensor, spread: np.ndarray) -> Weights:
    """spread: every code's scale."""
    values = codes.view(ml_dtypes.float8_e4m3fn).astype(np.float64) * spread.astype(np.float64)
    return Weights(torch.from_numpy(codes).view(torch.float8_e4m3fn), scale, torch.from_numpy(values))


def int8(n: int, k: int, seed: int = 0) -> Weights:
    random = np.random.default_rng(seed)
    codes = random.integers(-128, 128, (n, k)).astype(np.int8)
    scale = random.uniform(0.001, 0.01, n).astype(np.float32)
    return Weights(
        torch.from_numpy(codes), torch.from_numpy(scale), torch.from_numpy(codes * scale[:, None].astype(float))
    )


def tokens(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Of many magnitudes, some zero."""
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=made, dtype=torch.float64)
    x *= torch.exp2(torch.randint(-8, 4, shape, generator=made).double())
    return (x * (torch.rand(shape, generator=made) > 0.05)).to(dtype)


def bound(x: Tensor, weights: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    """How far a result may be from y = x · weightsᵀ (fp64).

    A product's scale and every addition are rounded to fp32, in any order, which is (k + 2) roundings at most, and then
    the result to its dtype. Below fp32's normal numbers every product with a code of up to 448 may be lost, and below
    those of the dtype half of a last place.
    """
    k = x.shape[-1]
    sums = x.double().abs() @ weights.abs().T
    last = torch.finfo(dtype).eps / 2 if dtype != torch.float32 else 0
    tiny = k * 448 * 2.0**-126 + torch.finfo(dtype).tiny * last
    return (k + 2) * 2.0**-24 * sums * (1 + last) + last * y.abs() + tiny
