"""What kernels compute element by element: number formats, and the arithmetic of `reference/exact.py` in its order."""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.44269504)
LN2_HIGH = tl.constexpr(0.693359375)
LN2_LOW = tl.constexpr(-2.12194440e-4)
WHOLE = tl.constexpr(12582912.0)  # 1.5·2^23: added and taken off, it rounds an fp32 to a whole number, ties to even
STEPS = tl.constexpr(24576.0)  # 1.5·2^14: likewise to a multiple of 2^-9, the smallest e4m3


@triton.jit
def e4m3(bits: tl.tensor) -> tl.tensor:
    """fp32 of float8_e4m3fn's bytes, by whole numbers, since not every chip converts them.

    Read as fp16, whose exponent's bias is 8 more, they are 2^8 too small.
    """
    wide = bits.to(tl.int16)
    half = (((wide & 0x80) << 8) | ((wide & 0x7F) << 7)).to(tl.float16, bitcast=True)
    return tl.where((wide & 0x7F) == 0x7F, float("nan"), half.to(tl.float32) * 256.0)


@triton.jit
def power_of_two(bits: tl.tensor) -> tl.tensor:
    """2^(bits - 127) as fp32: float8_e8m0fnu's bytes; 255 is NaN."""
    wide = bits.to(tl.int32)
    raised = tl.where(wide == 0, 0x00400000, wide << 23).to(tl.float32, bitcast=True)
    return tl.where(wide == 255, float("nan"), raised)


@triton.jit
def to_e4m3(x: tl.tensor) -> tl.tensor:
    """fp32 of at most 448 in size, rounded to the nearest e4m3, ties to even; still fp32."""
    bits = x.to(tl.int32, bitcast=True)
    normal = ((bits + 0x7FFFF + ((bits >> 20) & 1)) & -0x100000).to(tl.float32, bitcast=True)
    small = tl.abs(x) < 0.015625
    return tl.where(small, (x + STEPS) - STEPS, normal)


@triton.jit
def scale_bits(largest: tl.tensor) -> tl.tensor:
    """The byte of the least power of two under which `largest` is at most 448 = 1.75·2^8: the rule 'ceil'."""
    bits = tl.maximum(largest, 1e-4).to(tl.int32, bitcast=True)
    return tl.minimum((bits >> 23) - 8 + tl.where((bits & 0x7FFFFF) > 0x600000, 1, 0), 254)


@triton.jit
def exp(x: tl.tensor) -> tl.tensor:
    """`exact.exp`, to the bit. Launch it with `exact`."""
    x = tl.where(x > 88.0, 88.0, tl.where(x < -87.0, -87.0, x))
    n = (x * LOG2_E + WHOLE) - WHOLE
    r = tl.fma(n, tl.full(n.shape, -LN2_LOW, tl.float32), tl.fma(n, tl.full(n.shape, -LN2_HIGH, tl.float32), x))
    p = tl.full(n.shape, 1 / 5040, tl.float32)
    p = tl.fma(p, r, tl.full(n.shape, 1 / 720, tl.float32))
    p = tl.fma(p, r, tl.full(n.shape, 1 / 120, tl.float32))
    p = tl.fma(p, r, tl.full(n.shape, 1 / 24, tl.float32))
    p = tl.fma(p, r, tl.full(n.shape, 1 / 6, tl.float32))
    p = tl.fma(p, r, tl.full(n.shape, 0.5, tl.float32))
    p = tl.fma(p, r, tl.full(n.shape, 1.0, tl.float32))
    p = tl.fma(p, r, tl.full(n.shape, 1.0, tl.float32))
    whole = tl.where(n == n, n, 0.0).to(tl.int32)
    return p * ((whole + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def lane_total(lanes: tl.tensor, LANES: tl.constexpr) -> tl.tensor:
    """The sum of LANES = 16 fp32 in the order of `exact.total`: lanes i and i + 8, 4, 2, 1; a sum of two has one order.

    A tile of one number, since not every compiler divides by a lone one.
    """
    eight = tl.sum(tl.reshape(lanes, [2, LANES // 2]), 0)
    four = tl.sum(tl.reshape(eight, [2, LANES // 4]), 0)
    two = tl.sum(tl.reshape(four, [2, LANES // 8]), 0)
    return tl.sum(tl.reshape(two, [1, 2]), 1)


@triton.jit
def first_highest(x: tl.tensor, place: tl.tensor, beyond: tl.tensor) -> tl.tensor:
    """The lowest of `place` where x is highest, over the last dimension. Not `argmax`, which not every compiler has."""
    highest = tl.max(x, len(x.shape) - 1, keep_dims=True)
    return tl.min(tl.where(x == highest, place, beyond), len(x.shape) - 1)
