"""What encoding and decoding mean. Codes are int64 tensors, one code each, whatever the format's width.

Encoding takes the nearest value; of two that are as near, the one whose code is even (in HiF8: the one farther from
zero). Beyond the largest finite value it stays there, with its sign, also from infinity (fp32, tf32 and bf16 become
infinite). NaN becomes the format's NaN, with its sign where there are two, or zero where there is none; tf32 and bf16
keep what fits of its bits.
"""

from functools import cache

import torch
from torch import Tensor

from xinqiao.formats.table import ELEMENTS, Element

__all__ = ["ELEMENTS", "Element", "decode", "encode"]


def decode(codes: Tensor, element: str) -> Tensor:
    """The fp32 value of each code. codes: any integer dtype, as unsigned codes; any shape."""
    row = ELEMENTS[element]
    unsigned = codes.to(torch.int64) & ((1 << row.bits) - 1)
    if element == "f32":
        return unsigned.to(torch.int32).view(torch.float32)
    return _values(element)[unsigned] if row.bits <= 8 else _float_values(unsigned, row)


def encode(values: Tensor, element: str) -> Tensor:
    """The code of each fp32 value; any shape."""
    row = ELEMENTS[element]
    if element == "f32":  # its own bits, also those of a NaN
        return values.contiguous().view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    if row.kind == "power":
        return _power(values)
    if row.kind == "whole":
        return values.nan_to_num(0).clamp(-row.largest, row.largest).round().to(torch.int64) & ((1 << row.bits) - 1)
    magnitude = values.double().abs().nan_to_num(0)
    found = _tapered(magnitude) if row.kind == "tapered" else _float(magnitude, row)
    minus = torch.signbit(values)
    signed = found | torch.where(minus & ((found != 0) | row.minus_zero), row.sign, 0)
    return torch.where(values.isnan(), _nan(values, row), signed)


def _nan(values: Tensor, row: Element) -> Tensor:
    """What the NaNs among fp32 values become."""
    bits = values.contiguous().view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    if row.nan is None:
        return torch.zeros_like(bits)
    if row.cut:
        return bits >> (32 - row.bits) | row.nan
    return row.nan | torch.where(bits >> 31 == 1, row.sign, 0)


def _power_of_two(exponent: Tensor) -> Tensor:
    """float64 2^exponent, exactly, of int64 from -1022 to 1023."""
    return ((exponent + 1023) << 52).view(torch.float64)


def _float(magnitude: Tensor, row: Element) -> Tensor:
    """The codes of float64 numbers from zero up.

    A code counts the steps from zero up. They are as long as the number's binade has them, and those of its subnormals
    below the first; binades below the number's own hold 2^mantissa of them each.
    """
    lowest = 1 - row.bias
    held = magnitude.clamp(max=2 * row.largest if row.cut else row.largest)
    exponent = ((held.view(torch.int64) >> 52) - 1023).clamp(min=lowest)
    steps = (held / _power_of_two(exponent - row.mantissa)).round().to(torch.int64)  # halves to even
    found = steps + ((exponent - lowest) << row.mantissa)
    return found.clamp(max=row.infinity) if row.cut else found


def _float_values(codes: Tensor, row: Element) -> Tensor:
    """fp32 values of codes with their signs."""
    magnitude = codes & ~row.sign
    field, rest = magnitude >> row.mantissa, magnitude & ((1 << row.mantissa) - 1)
    whole = rest | (field > 0).to(torch.int64) << row.mantissa
    found = whole * _power_of_two(field.clamp(min=1) - row.bias - row.mantissa)
    if row.infinity is not None:
        found = torch.where(
            magnitude < row.infinity, found, torch.where(magnitude == row.infinity, torch.inf, torch.nan)
        )
    elif row.nan is not None:
        found = torch.where(torch.isin(codes, torch.tensor((row.nan, row.nan | row.sign))), torch.nan, found)
    return torch.where((codes & row.sign) != 0, -found, found).float()


def _power(values: Tensor) -> Tensor:
    """The nearest power of two of the magnitude, as PyTorch 2.13 casts to float8_e8m0fnu: halves go up."""
    bits = values.contiguous().view(torch.int32).to(torch.int64) & 0x7FFFFFFF
    exponent, rest = bits >> 23, bits & 0x3FFFFF
    up = ((bits & 0x400000) != 0) & ((rest != 0) | (exponent != 0))
    return torch.where(exponent == 255, 255, exponent + up.to(torch.int64))


def _tapered(magnitude: Tensor) -> Tensor:
    """The HiF8 codes of float64 numbers from zero up: of two codes as near, the one farther from zero."""
    known, codes = _values("hif8")[:128].double().sort()  # infinity is the last of them
    return codes[torch.bucketize(magnitude, (known[1:-1] + known[:-2]) / 2, right=True)]


@cache
def _values(element: str) -> Tensor:
    """The fp32 value of every code of a format of at most eight bits."""
    row = ELEMENTS[element]
    codes = torch.arange(1 << row.bits)
    if row.kind == "float":
        return _float_values(codes, row)
    if row.kind == "whole":
        return ((codes ^ row.sign) - row.sign).float()
    return torch.tensor([torch.nan if code == row.nan else _value(code, row) for code in codes.tolist()])


def _value(code: int, row: Element) -> float:
    magnitude = code & ~row.sign
    found = torch.inf if magnitude == row.infinity else row.value(magnitude)
    return -found if code & row.sign else found
