"""Seconds of a kernel on one device of a chip, and how wrong they may be.

    arithmetic = FLOPs / (peak × compute share × rows / (rows + half_rows))
    traffic    = bytes / (bandwidth × memory share)
    seconds    = (arithmetic^p + traffic^p)^(1/p) + launch

The shares, p and the launch are `constants`. A kernel's arithmetic and traffic share its seconds in proportion to
arithmetic^p and traffic^p: d log(seconds) / d log(arithmetic) is that share, so a constant that is off by a factor
moves the total by its share of that factor, which is how intervals are computed.
"""

from math import exp, hypot, inf, log, sqrt
from pathlib import Path

from msgspec import Struct

from xinqiao.chips.performance import FORMATS
from xinqiao.chips.spec import Chip
from xinqiao.chips.table import read
from xinqiao.cost.constants import Constants, constants
from xinqiao.cost.kernel import Kernel
from xinqiao.cost.software import Software
from xinqiao.cost.table import Correction, Measured
from xinqiao.cost.time import Time
from xinqiao.cost.unknown import Unknown

TORCH = {form: dtype for dtype, form in reversed(FORMATS.items())}  # 'bf16' → 'bfloat16'
Z80 = 1.2816  # standard deviations on either side that hold 80 % of a normal distribution
EIGHT_BITS = ("fp8", "int8", "fp4", "int4")


Parts = tuple[tuple[float, float], ...]  # seconds, and the standard deviation of their logarithm


class Interval(Struct, frozen=True):
    """A value and the ends that hold it with a probability of 80 %."""

    value: float
    low: float
    high: float


class Price:
    """Prices kernels on one device of `chip` under `software`."""

    def __init__(
        self, chip: Chip, software: Software, found: Constants | None = None, *, lower_bound: bool = False
    ) -> None:
        """found: constants to use instead of the fitted ones.

        lower_bound: a rate that no source states is infinite, so that times leave its part out; else Unknown is raised.
        """
        self.chip, self.software, self._lower_bound = chip, software, lower_bound
        fitted, self.level = constants(chip.name, chip.vendor)
        self.constants = found or fitted
        self.device = chip.per_device()
        c = self.constants
        self.launch = self.device.launch or c.launch.value
        self._sharp, self._half = c.sharpness.value, c.half_rows.value
        self._memory = (self.device.bandwidth or 0.0) * c.memory.value
        self._rates: dict[str, float] = {}
        self._table: Measured | None = None
        if chip.calibration:
            self.level = "measured"
            self._table = Measured(read(Path(chip.calibration)).row, lambda kernel: self._modelled(kernel).seconds)

    def peak(self, form: str) -> float:
        """FLOP/s of the data sheet; Unknown where no source states it."""
        found = self.device.peak(TORCH.get(form, form))
        if found is None and self._lower_bound:
            return inf
        if found is None:
            raise Unknown(f"{form} peak of {self.chip.title}: {self.device.why(TORCH.get(form, form))}")
        return found

    def rate(self, form: str) -> float:
        """FLOP/s that a large GEMM reaches; Unknown where no source states the peak."""
        found = self._rates.get(form)
        if found is None:
            c = self.constants
            found = self.peak(form) * c.compute.value * (c.compute8.value if form in EIGHT_BITS else 1.0)
            self._rates[form] = found
        return found

    @property
    def memory(self) -> float:
        """Bytes/s that kernels reach; Unknown where no source states the bandwidth."""
        if not self._memory and self._lower_bound:
            return inf
        if not self._memory:
            raise Unknown(f"memory bandwidth of {self.chip.title}{_note(self.chip.memory.bandwidth.note)}")
        return self._memory

    def kernel(self, kernel: Kernel) -> Time:
        """Seconds of all `count` kernels; Unknown names a figure that it needs and no source states."""
        time, found = self._modelled(kernel), self.correction(kernel)
        return time.times(found.factor) if found else time

    def correction(self, kernel: Kernel) -> Correction | None:
        """What the chip's measured kernels say of this one; None: there are none of its kind, constants price it."""
        return self._table.correction(kernel) if self._table else None

    def _modelled(self, kernel: Kernel) -> Time:
        c, p = self.constants, self._sharp
        core = kernel.kind.endswith("attention")
        arithmetic = 0.0
        if kernel.flops:
            arithmetic = kernel.flops / self.rate(kernel.format)
            if core:
                arithmetic /= (c.decoding if kernel.kind == "decode_attention" else c.attention).value
            elif kernel.rows:
                arithmetic *= 1 + self._half / kernel.rows
        traffic, cached = kernel.bytes / self.memory, kernel.cache / (self.memory * c.cache.value)
        larger = max(arithmetic, traffic + cached) or 1e-30  # powers of shares of it neither vanish nor overflow
        a, b = (arithmetic / larger) ** p, ((traffic + cached) / larger) ** p
        seconds = larger * (a + b) ** (1 / p)
        products = seconds * a / (a + b) if a else 0.0
        moved = (seconds - products) / ((traffic + cached) or 1.0)
        return Time(
            compute=0.0 if core else products * kernel.count,
            attention=products * kernel.count if core else 0.0,
            memory=traffic * moved * kernel.count,
            cache=cached * moved * kernel.count,
            launch=self.launch * kernel.count,
            core=c.core.value * kernel.count if core else 0.0,
        )

    def spread(self, time: Time, *, link: tuple[float, float] | None = None) -> float:
        """Standard deviation of log(seconds): of each part's constant and of the chip's own figures, by its share.

        link: (low, high) of the links' rate.
        """
        total = time.seconds or 1.0
        c = self.constants
        parts = (
            *(self._measured_parts(time) or self._modelled_parts(time)),
            (time.host, hypot(c.host.spread, c.step.spread)),
            (time.link, hypot(c.link.spread, _range(link))),
            (time.latency, c.latency.spread),
        )
        return sqrt(sum((part / total * spread) ** 2 for part, spread in parts) + c.residual.spread**2)

    def _measured_parts(self, time: Time) -> Parts:
        """() where there is no table, or where it lacks a format that was priced."""
        if not self._table or not self._rates.keys() <= self._table.formats:
            return ()
        products, cores, others = map(self._table.spread, ("gemm", "attention", "elementwise"))
        return (
            (time.compute + time.memory, products),
            (time.attention + time.cache + time.core, cores),
            (time.launch, others),
        )

    def _modelled_parts(self, time: Time) -> Parts:
        c, figures = self.constants, self.device.interval
        eight = c.compute8.spread if self._rates.keys() & set(EIGHT_BITS) else 0.0
        return (
            (time.compute + time.attention, hypot(c.compute.spread, eight, self._peak_spread())),
            (time.attention, c.attention.spread),
            (time.memory + time.cache, hypot(c.memory.spread, _range(figures("bandwidth")))),
            (time.cache, c.cache.spread),
            (time.launch, c.launch.spread if self.device.launch is None else _range(figures("launch"))),
            (time.core, c.core.spread),
        )

    def _peak_spread(self) -> float:
        return max((_range(self.device.peak_interval(TORCH.get(form, form))) for form in self._rates), default=0.0)


def interval(value: float, spread: float) -> Interval:
    """The 80 % interval of a lognormal answer."""
    return Interval(value, value * exp(-Z80 * spread), value * exp(Z80 * spread))


def _range(ends: tuple[float, float] | None) -> float:
    """Standard deviation of the logarithm of a figure that lies anywhere between two ends."""
    return 0.0 if ends is None or ends[0] == ends[1] else log(ends[1] / ends[0]) / sqrt(12)


def _note(text: str) -> str:
    return f": {text}" if text else ""
