"""The table of number formats, and what encoding and decoding mean.

A format is the list of its values. Encoding takes the nearest one; of two that are as near, the one whose code is even
(in HiF8: the one farther from zero). Above the largest finite value it stays at that value, with its sign, also from
infinity. NaN becomes the format's NaN, or zero where it has none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One format.

    bits       of a code; a code is an unsigned integer
    exponent, mantissa, bias   widths, and what is subtracted from the exponent field; 0 where it is no such float
    nan        the code of NaN without its sign; None: it has none
    infinity   the code of infinity; None: it has none
    signed     there are negative values
    minus_zero there is a negative zero
    packed     codes to a byte when stored, the first in the low bits
    """

    name: str
    bits: int
    exponent: int = 0
    mantissa: int = 0
    bias: int = 0
    nan: int | None = None
    infinity: int | None = None
    signed: bool = True
    minus_zero: bool = True
    packed: int = 1
    words: str
    source: str

    @property
    def largest(self) -> float:
        """The largest finite value."""
        return float(_positive(self.name)[0][-1])

    @property
    def smallest(self) -> float:
        """The smallest value above zero."""
        values = _positive(self.name)[0]
        return float(values[values > 0][0])


_OCP8 = "OCP 8-bit Floating Point Specification (OFP8) 1.0"
_MX = "OCP Microscaling Formats (MX) 1.0"
_FNUZ = "Noune et al., arXiv 2206.02915"
ELEMENTS: dict[str, Element] = {
    row.name: row
    for row in (
        Element(
            name="f32",
            bits=32,
            exponent=8,
            mantissa=23,
            bias=127,
            nan=0x7FC00000,
            infinity=0x7F800000,
            words="IEEE 754 binary32: the reference that all others are rounded from",
            source="IEEE 754-2019",
        ),
        Element(
            name="tf32",
            bits=19,
            exponent=8,
            mantissa=10,
            bias=127,
            nan=0x3FE00,
            infinity=0x3FC00,
            words="fp32 with ten mantissa bits, inside matrix units only; never stored",
            source="NVIDIA A100 whitepaper",
        ),
        Element(
            name="f16",
            bits=16,
            exponent=5,
            mantissa=10,
            bias=15,
            nan=0x7E00,
            infinity=0x7C00,
            words="IEEE 754 binary16; a weight above 65504 saturates",
            source="IEEE 754-2019",
        ),
        Element(
            name="bf16",
            bits=16,
            exponent=8,
            mantissa=7,
            bias=127,
            nan=0x7FC0,
            infinity=0x7F80,
            words="the upper half of fp32; rounding overflows to infinity as IEEE says, not to the largest value",
            source="IEEE 754-2019, cut",
        ),
        Element(
            name="e4m3fn",
            bits=8,
            exponent=4,
            mantissa=3,
            bias=7,
            nan=0x7F,
            words="four exponent and three mantissa bits; no infinity, one NaN of each sign; largest 448",
            source=_OCP8,
        ),
        Element(
            name="e4m3fnuz",
            bits=8,
            exponent=4,
            mantissa=3,
            bias=8,
            nan=0x80,
            minus_zero=False,
            words="e4m3 with a bias of 8; no infinity, no negative zero (its code is the one NaN); largest 240",
            source=_FNUZ,
        ),
        Element(
            name="e5m2",
            bits=8,
            exponent=5,
            mantissa=2,
            bias=15,
            nan=0x7F,
            infinity=0x7C,
            words="binary16 without its last eight bits: infinities and NaNs; largest 57344",
            source=_OCP8,
        ),
        Element(
            name="e5m2fnuz",
            bits=8,
            exponent=5,
            mantissa=2,
            bias=16,
            nan=0x80,
            minus_zero=False,
            words="e5m2 with a bias of 16; no infinity, no negative zero (its code is the one NaN); largest 57344",
            source=_FNUZ,
        ),
        Element(
            name="e8m0",
            bits=8,
            exponent=8,
            bias=127,
            nan=0xFF,
            signed=False,
            minus_zero=False,
            words="UE8M0, a scale: powers of two from 2^-127 to 2^127; no sign, no zero, one NaN",
            source=_MX,
        ),
        Element(
            name="e2m1",
            bits=4,
            exponent=2,
            mantissa=1,
            bias=1,
            packed=2,
            words="FP4: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; neither infinity nor NaN",
            source=_MX,
        ),
        Element(
            name="e3m2",
            bits=6,
            exponent=3,
            mantissa=2,
            bias=3,
            words="FP6 with the wider range: largest 28; neither infinity nor NaN",
            source=_MX,
        ),
        Element(
            name="e2m3",
            bits=6,
            exponent=2,
            mantissa=3,
            bias=1,
            words="FP6 with the finer steps: largest 7.5; neither infinity nor NaN",
            source=_MX,
        ),
        Element(
            name="int8",
            bits=8,
            minus_zero=False,
            words="whole numbers from -127 to 127, two's complement; -128 is read, never written",
            source="symmetric quantisation as every serving stack has it",
        ),
        Element(
            name="int4",
            bits=4,
            packed=2,
            minus_zero=False,
            words="whole numbers from -7 to 7, two's complement; -8 is read, never written",
            source="symmetric quantisation as every serving stack has it",
        ),
        Element(
            name="hif8",
            bits=8,
            mantissa=3,
            nan=0x80,
            infinity=0x6F,
            minus_zero=False,
            words="HiF8: three mantissa bits near 1, two and one farther off, powers of two down to 2^-22; "
            "largest 2^15; ties go away from zero; no negative zero (its code is the one NaN)",
            source="arXiv 2409.16626",
        ),
    )
}


def decode(codes: Tensor, element: str) -> Tensor:
    """The fp32 value of each code. codes: any integer dtype, as unsigned codes; any shape."""
    row = ELEMENTS[element]
    unsigned = codes.to(torch.int64) & ((1 << row.bits) - 1)
    if element == "f32":
        return unsigned.to(torch.int32).view(torch.float32)
    return _values(element)[unsigned].float()


def encode(values: Tensor, element: str) -> Tensor:
    """The code of each fp32 value, as int64; any shape."""
    if element == "f32":
        return values.contiguous().view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    if element == "e8m0":
        return _power(values)
    row = ELEMENTS[element]
    known, codes = _positive(element)
    magnitude = values.double().abs()
    middles = (known[1:] + known[:-1]) / 2
    below = torch.searchsorted(middles, magnitude)  # how many middles lie strictly below
    at = below.clamp(max=len(middles) - 1)
    tie = (magnitude == middles[at]) & (below < len(middles))
    up = tie if element == "hif8" else tie & (codes[at] % 2 == 1)
    found = codes[(below + up).clamp(max=len(known) - 1)]
    if element == "bf16":  # IEEE: half a step above the largest value, and beyond, is infinity
        step = known[-1] - known[-2]
        found = torch.where(magnitude >= known[-1] + step / 2, row.infinity or 0, found)
    return _signed(found, values, row)


def _signed(found: Tensor, values: Tensor, row: Element) -> Tensor:
    minus = torch.signbit(values)
    if row.mantissa == 0 and row.name != "hif8":
        codes = torch.where(minus, -found, found) & ((1 << row.bits) - 1)
        return torch.where(values.isnan(), 0, codes)
    keeps = minus if row.minus_zero else minus & (found != 0)
    signed = found | (keeps.to(torch.int64) << (row.bits - 1))
    if row.nan is None:
        return torch.where(values.isnan(), keeps.to(torch.int64) * 0, signed)
    lone = row.nan >> (row.bits - 1)
    nan = torch.full_like(signed, row.nan) if lone else row.nan | (minus.to(torch.int64) << (row.bits - 1))
    return torch.where(values.isnan(), nan, signed)


def _power(values: Tensor) -> Tensor:
    """The nearest power of two of the magnitude, as PyTorch 2.13 casts to float8_e8m0fnu: halves go up."""
    bits = values.contiguous().view(torch.int32).to(torch.int64) & 0x7FFFFFFF
    exponent, rest = bits >> 23, bits & 0x3FFFFF
    up = ((bits & 0x400000) != 0) & ((rest != 0) | (exponent != 0))
    return torch.where(exponent == 255, 255, exponent + up.to(torch.int64))


@cache
def _values(element: str) -> Tensor:
    """The float64 value of every code, in the codes' order."""
    row = ELEMENTS[element]
    codes = torch.arange(1 << row.bits)
    if row.mantissa == 0 and row.signed and element != "hif8":
        half = 1 << (row.bits - 1)
        return ((codes ^ half) - half).double()
    magnitude = codes & ((1 << (row.bits - row.signed)) - 1)
    value: Callable[[int, Element], float] = _tapered if element == "hif8" else _float
    found = torch.tensor([value(int(m), row) for m in magnitude], dtype=torch.float64)
    found = torch.where((codes > magnitude) & row.signed, -found, found)
    if row.nan is not None and row.nan >> (row.bits - row.signed):
        found[row.nan] = torch.nan
    return found


def _float(magnitude: int, row: Element) -> float:
    """Of a code without its sign."""
    if row.infinity is not None and magnitude >= row.infinity:
        return torch.inf if magnitude == row.infinity else torch.nan
    if row.infinity is None and row.nan == magnitude:
        return torch.nan
    field, rest = divmod(magnitude, 1 << row.mantissa)
    if row.name == "e8m0":
        return float(2.0 ** (field - row.bias))
    if field == 0:
        return float(rest * 2.0 ** (1 - row.bias - row.mantissa))
    return float((1 + rest / (1 << row.mantissa)) * 2.0 ** (field - row.bias))


def _tapered(magnitude: int, row: Element) -> float:
    """HiF8: leading bits say how many exponent bits follow (the first of them its sign); the rest is mantissa."""
    if magnitude == row.infinity:
        return torch.inf
    if magnitude < 8:
        return float(2.0 ** (magnitude - 23)) if magnitude else 0.0
    prefixes = ((0b11, 2, 4), (0b10, 2, 3), (0b01, 2, 2), (0b001, 3, 1), (0b0001, 4, 0))
    width, size = next((width, size) for prefix, width, size in prefixes if magnitude >> (7 - width) == prefix)
    mantissa = 7 - width - size
    rest = magnitude & ((1 << mantissa) - 1)
    field = magnitude >> mantissa & ((1 << size) - 1)
    exponent = 0
    if size:
        exponent = 1 << (size - 1) | field & ((1 << (size - 1)) - 1)
        exponent = -exponent if field >> (size - 1) else exponent
    return float((1 + rest / (1 << mantissa)) * 2.0**exponent)


@cache
def _positive(element: str) -> tuple[Tensor, Tensor]:
    """(finite values from zero up, float64; their codes)."""
    row = ELEMENTS[element]
    if element == "f32":
        return torch.tensor([0.0, 2.0**-149, torch.finfo(torch.float32).max], dtype=torch.float64), torch.arange(3)
    values = _values(element)
    kept = values.isfinite() & ~values.signbit()
    if row.mantissa == 0 and row.signed and element != "hif8":
        kept &= values < (1 << (row.bits - 1))
    codes = torch.arange(1 << row.bits)[kept]
    order = values[kept].argsort(stable=True)
    return values[kept][order], codes[order]
