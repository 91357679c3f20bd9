"""The table of number formats: one row says what each code means. Needs no PyTorch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One format.

    bits       of a code; a code is an unsigned integer
    kind       'float': sign, exponent and mantissa of fixed widths, subnormals where the exponent field is 0;
               'power': an exponent alone; 'whole': two's complement; 'tapered': widths that the code itself says
    exponent, mantissa, bias   widths, and what is subtracted from the exponent field; mantissa: the widest
    nan        the code of NaN, without its sign if it has one; None: it has none
    infinity   the code of infinity; None: it has none
    cut        fp32 with fewer mantissa bits: numbers beyond the largest become infinity, as IEEE says, and NaN keeps
               what fits; in any other format they become the largest
    signed     there are negative values
    minus_zero there is a negative zero
    packed     codes to a byte when stored, the first in the low bits
    """

    name: str
    bits: int
    kind: Literal["float", "power", "whole", "tapered"] = "float"
    exponent: int = 0
    mantissa: int = 0
    bias: int = 0
    nan: int | None = None
    infinity: int | None = None
    cut: bool = False
    signed: bool = True
    minus_zero: bool = True
    packed: int = 1
    words: str
    source: str

    @property
    def sign(self) -> int:
        """The bit that is set in codes of negative values; 0 where there are none."""
        return 1 << (self.bits - 1) if self.signed else 0

    @property
    def largest(self) -> float:
        """The largest finite value."""
        past = [code for code in (self.infinity, self.nan) if code is not None]
        return self.value(min([self.sign or 1 << self.bits, *past]) - 1)

    @property
    def smallest(self) -> float:
        """The smallest value above zero."""
        return self.value(0) or self.value(1)

    @property
    def smallest_normal(self) -> float:
        """Below it a float has fewer mantissa bits the smaller it is. Of other formats: `smallest`."""
        return 2.0 ** (1 - self.bias) if self.kind == "float" else self.smallest

    def value(self, code: int) -> float:
        """Of a finite code without a sign."""
        if self.kind == "whole":
            return float(code)
        if self.kind == "power":
            return float(2.0 ** (code - self.bias))
        if self.kind == "tapered":
            return _tapered(code)
        field, rest = divmod(code, 1 << self.mantissa)
        whole = rest + (1 << self.mantissa if field else 0)
        return float(whole * 2.0 ** (max(field, 1) - self.bias - self.mantissa))


def _tapered(code: int) -> float:
    """HiF8: leading bits say how many exponent bits follow (the first of them its sign); the rest is mantissa."""
    if code < 8:
        return 2.0 ** (code - 23) if code else 0.0
    prefixes = ((0b11, 2, 4), (0b10, 2, 3), (0b01, 2, 2), (0b001, 3, 1), (0b0001, 4, 0))
    width, size = next((width, size) for prefix, width, size in prefixes if code >> (7 - width) == prefix)
    mantissa = 7 - width - size
    exponent = 0
    if size:
        below = size - 1  # bits under the leading one, which is not stored
        field = code >> mantissa
        exponent = 1 << below | field & ((1 << below) - 1)
        exponent = -exponent if field >> below & 1 else exponent
    rest = code & ((1 << mantissa) - 1)
    return float((1 + rest / (1 << mantissa)) * 2.0**exponent)


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
            cut=True,
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
            cut=True,
            words="fp32 with ten mantissa bits, inside matrix units only; never stored",
            source="Choquette et al., IEEE Micro 41(2), 2021",
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
            cut=True,
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
            kind="power",
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
            kind="whole",
            bits=8,
            minus_zero=False,
            words="whole numbers from -127 to 127, two's complement; -128 is read, never written",
            source="symmetric quantisation as every serving stack has it",
        ),
        Element(
            name="int4",
            kind="whole",
            bits=4,
            packed=2,
            minus_zero=False,
            words="whole numbers from -7 to 7, two's complement; -8 is read, never written",
            source="symmetric quantisation as every serving stack has it",
        ),
        Element(
            name="hif8",
            kind="tapered",
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
