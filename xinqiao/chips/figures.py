"""A figure: a value or a range, with its unit, source and confidence. Unknown is a legal value."""

from math import inf
from typing import ClassVar, Literal

from msgspec import Struct

Confidence = Literal["measured", "vendor", "press", "roadmap", "unknown"]


class Figure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`value`, or `low` and `high`, or neither: unknown. A known one names unit, source and confidence."""

    UNITS: ClassVar[dict[str, float]] = {}  # unit -> SI
    QUALIFIER: ClassVar[str] = ""  # a key that a known figure of this kind must also have

    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    dense: bool | None = None
    direction: Literal["one-way", "two-way"] | None = None
    confidence: Confidence = "unknown"
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """ValueError 'key: what is wrong' for the reader to place."""
        for problem in (self._wrong_range(), self._wrong_provenance(), self._wrong_unit()):
            if problem:
                raise ValueError(problem)

    def _wrong_range(self) -> str:
        ends = (self.low, self.high)
        if self.value is not None and ends != (None, None):
            return "value: give a value or a range (low and high), not both"
        if ends.count(None) == 1:
            return f"{'low' if self.low is None else 'high'}: missing; a range needs low and high"
        if self.low is not None and self.high is not None and self.low > self.high:
            return f"low: {self.low:g} is above high = {self.high:g}"
        if any(number is not None and not 0 < number < inf for number in (self.value, *ends)):
            return "value: not a positive number; leave it out where unknown; a missing format belongs in lacks"
        return ""

    def _wrong_provenance(self) -> str:
        if self.known and self.confidence == "unknown":
            return "confidence: a figure with a value needs one of measured, vendor, press, roadmap"
        if not self.known and self.confidence != "unknown":
            return f"confidence: '{self.confidence}' without value, or low and high; say unknown"
        return "source: missing; say where the figure comes from" if self.known and not self.source else ""

    def _wrong_unit(self) -> str:
        if self.known and self.unit not in self.UNITS:
            return f"unit: '{self.unit}' is not one of {', '.join(self.UNITS)}"
        if self.known and self.QUALIFIER == "dense" and self.dense is None:
            return "dense: missing; true for a dense peak, false for one that counts on sparsity"
        if self.known and self.QUALIFIER == "direction" and self.direction is None:
            return "direction: missing; one-way, or two-way for the sum of both directions"
        return ""

    @property
    def known(self) -> bool:
        return self.value is not None or self.low is not None

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high) in SI units: FLOP/s or operations/s, bytes, bytes/s, watts, seconds. None: unknown."""
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if low is None or high is None:
            return None
        return low * self.UNITS[self.unit], high * self.UNITS[self.unit]

    @property
    def si(self) -> float | None:
        """The value in SI units, the middle of a range. None: unknown."""
        return None if self.interval is None else sum(self.interval) / 2

    def __str__(self) -> str:
        """'353.9 TFLOPS dense', '100-200 TFLOPS dense', 'unknown'."""
        if not self.known:
            return "unknown"
        number = f"{self.value:g}" if self.value is not None else f"{self.low:g}-{self.high:g}"
        sparsity = "" if self.dense is None else "dense" if self.dense else "sparse"
        return " ".join(word for word in (number, self.unit, sparsity, self.direction or "") if word)


class Peak(Figure, frozen=True, kw_only=True):
    UNITS: ClassVar[dict[str, float]] = {"TFLOPS": 1e12, "TOPS": 1e12}
    QUALIFIER: ClassVar[str] = "dense"


class Capacity(Figure, frozen=True, kw_only=True):
    UNITS: ClassVar[dict[str, float]] = {"GB": 1e9, "GiB": 2.0**30}


class OnChip(Figure, frozen=True, kw_only=True):
    UNITS: ClassVar[dict[str, float]] = {"KiB": 2.0**10}


class Bandwidth(Figure, frozen=True, kw_only=True):
    UNITS: ClassVar[dict[str, float]] = {"GB/s": 1e9, "TB/s": 1e12}


class Link(Figure, frozen=True, kw_only=True):
    UNITS: ClassVar[dict[str, float]] = {"GB/s": 1e9}
    QUALIFIER: ClassVar[str] = "direction"


class Power(Figure, frozen=True, kw_only=True):
    UNITS: ClassVar[dict[str, float]] = {"W": 1.0}


class Duration(Figure, frozen=True, kw_only=True):
    UNITS: ClassVar[dict[str, float]] = {"us": 1e-6}
