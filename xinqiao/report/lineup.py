"""Line up what two runs read back from their devices."""

from dataclasses import dataclass
from math import isfinite, isnan

from xinqiao.record.schema import RunRecord


@dataclass(frozen=True)
class Lineup:
    """Series of numbers, one a run, of equal meaning. difference: the largest; None where lengths differ."""

    runs: list[RunRecord]
    series: list[list[float]]

    @property
    def difference(self) -> float | None:
        if len({len(s) for s in self.series}) != 1:
            return None
        columns = zip(*self.series, strict=True)
        return max((_apart(first, other) for first, *rest in columns for other in rest), default=0.0)

    @property
    def identical(self) -> bool:
        return self.difference == 0.0


def _apart(a: float, b: float) -> float:
    return 0.0 if isnan(a) and isnan(b) else abs(a - b)


def main_series(run: RunRecord) -> list[float]:
    """The numbers of the line that read back most floats: the loss, in a training program."""
    return max((r.values for r in run.readbacks), key=lambda values: (_has_fractions(values), len(values)), default=[])


def _has_fractions(values: list[float]) -> bool:
    return any(isfinite(x) and x != int(x) for x in values)


def line_up(runs: list[RunRecord]) -> Lineup | None:
    """The main series of each run that has one; None where fewer than two have."""
    found = [(run, main_series(run)) for run in runs if run.mode == "values"]
    found = [(run, series) for run, series in found if series]
    return Lineup([r for r, _ in found], [s for _, s in found]) if len(found) > 1 else None
