"""Line up what runs read back from their devices: the first series of each, the second of each, and so on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from math import copysign, inf, isfinite, isnan

from xinqiao.record.schema import Readback, RunRecord


@dataclass(frozen=True)
class Lineup:
    """Series of one place in the program. runs[i] read back series[i]; the first run is what the others are held to.

    missing: how many runs of the same rank have no such series."""

    runs: list[RunRecord]
    series: list[Readback]
    missing: int

    @cached_property
    def difference(self) -> float | None:
        """The largest, 0 or more, infinite where a number has no equal; None where the lengths differ."""
        if len({len(s.values) for s in self.series}) != 1:
            return None
        first, *others = (s.values for s in self.series)
        return max((_apart(a, b) for other in others for a, b in zip(first, other, strict=True)), default=0.0)

    @cached_property
    def identical(self) -> bool:
        """Bit for bit; numbers that are not a number count as equal."""
        first, *others = (s.values for s in self.series)
        return self.difference == 0.0 and all(
            isnan(a) or copysign(1, a) == copysign(1, b) for other in others for a, b in zip(first, other, strict=True)
        )

    @property
    def lowest(self) -> float:
        """Of the finite numbers; 0 where there is none."""
        return min((v for s in self.series for v in s.values if isfinite(v)), default=0.0)

    @property
    def highest(self) -> float:
        """Of the finite numbers; 0 where there is none."""
        return max((v for s in self.series for v in s.values if isfinite(v)), default=0.0)

    @property
    def length(self) -> int:
        return max(len(s.values) for s in self.series)


def _apart(a: float, b: float) -> float:
    if a == b or (isnan(a) and isnan(b)):
        return 0.0
    return inf if isnan(a) or isnan(b) else abs(a - b)


@dataclass(frozen=True)
class Comparison:
    """All series of runs in values mode, rank by rank."""

    lineups: list[Lineup]

    @property
    def compared(self) -> list[Lineup]:
        return [one for one in self.lineups if len(one.runs) > 1]

    @property
    def numbers(self) -> int:
        """How many numbers of each run were held against another's."""
        return sum(one.length for one in self.compared)

    @property
    def lined_up(self) -> bool:
        """Every series has its partner, and partners are equally long."""
        return not any(one.missing for one in self.lineups) and all(o.difference is not None for o in self.compared)

    @property
    def identical(self) -> bool:
        return self.lined_up and all(one.identical for one in self.compared)

    @property
    def difference(self) -> float:
        """The largest over all series of equal length."""
        return max((one.difference or 0.0 for one in self.compared), default=0.0)


def compare(runs: Sequence[RunRecord]) -> Comparison:
    """Line up the runs that computed with values and read back at least one number."""
    lineups = []
    for rank in sorted({run.rank for run in runs}):
        same_rank = [run for run in runs if run.rank == rank and run.mode == "values" and run.readbacks]
        for row in zip_longest(*(run.readbacks for run in same_rank)):
            pairs = [(run, series) for run, series in zip(same_rank, row, strict=True) if series is not None]
            missing = len(same_rank) - len(pairs)
            lineups.append(Lineup([run for run, _ in pairs], [series for _, series in pairs], missing))
    return Comparison(lineups)
