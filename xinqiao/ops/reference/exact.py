"""Arithmetic with one result everywhere, for what chooses blocks, tokens and experts.

A choice is made by comparing scores, and scores that are computed in another order differ in the last bit. So the order
is stated here, in IEEE single precision, and every back end keeps to it: the choices are the same, bit for bit. The
kernels' version is `xinqiao/native/vector.h`. Here fused operations are made of fp64's, which the device must have.
"""

import torch
from torch import Tensor

LANES = 16  # of the sum
LOG2_E = 1.44269504
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4  # their sum is ln 2; the first has few bits (Cody and Waite)
SERIES = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0)


def fma(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """fp32 a·b + c, rounded once.

    In fp64 the product is exact and the sum is rounded to odd, which makes the second rounding, to fp32, right
    (Boldo and Melquiond, 2008).
    """
    product, addend = a.double() * b.double(), c.double()
    total = product + addend
    back = total - product
    lost = (product - (total - back)) + (addend - back)
    bits = total.view(torch.int64)
    even = (bits & 1) == 0
    outward = ((lost > 0) & (total > 0)) | ((lost < 0) & (total < 0))
    inward = ((lost > 0) & (total < 0)) | ((lost < 0) & (total > 0))
    odd = bits + (even & outward).to(torch.int64) - (even & inward).to(torch.int64)
    return odd.view(torch.float64).float()


def dot(a: Tensor, b: Tensor) -> Tensor:
    """fp32 [..., m, d] and [..., n, d] → [..., m, n]: products added from the first of d to the last, each by `fma`."""
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    found = torch.zeros(*batch, a.shape[-2], b.shape[-2], device=a.device)
    for i in range(a.shape[-1]):
        found = fma(a[..., :, None, i], b[..., None, :, i], found)
    return found


def exp(x: Tensor) -> Tensor:
    """e^x of fp32, x clamped to [-87, 88]; NaN stays. Within 1 unit in the last place."""
    x = x.clamp(-87, 88)
    n = (x * torch.tensor(LOG2_E)).round()
    r = fma(n, torch.tensor(-LN2_LOW), fma(n, torch.tensor(-LN2_HIGH), x))
    p = torch.full_like(x, SERIES[0])
    for coefficient in SERIES[1:]:
        p = fma(p, r, torch.tensor(coefficient))
    power = ((n.nan_to_num(0).to(torch.int32) + 127) << 23).view(torch.float32)
    return p * power


def total(x: Tensor) -> Tensor:
    """Sum over the last dimension: element i into lane i mod 16, in order; then lanes i and i + 8, 4, 2, 1."""
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % LANES)).unflatten(-1, (-1, LANES))
    lanes = torch.zeros_like(padded[..., 0, :]) if padded.shape[-2] else x.new_zeros(*x.shape[:-1], LANES)
    for i in range(padded.shape[-2]):
        lanes = lanes + padded[..., i, :]
    half = LANES // 2
    while half:
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
        half //= 2
    return lanes[..., 0]


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x) of fp32."""
    return 1 / (1 + exp(-x))
