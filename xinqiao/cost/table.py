"""What measured kernels say of others: the measured time over the modelled one, interpolated between neighbours.

    log(factor) = Σ wᵢ log(measuredᵢ / modelledᵢ) / (Σ wᵢ + w₀),    wᵢ = 1 / (dᵢ² + d₀² + (spreadᵢ/s)²)

over the nearest measured kernels of the same kind and number format. d is the distance in the base-2 logarithms of
their sizes; the first size, the rows, counts in full and the others half, because efficiency changes most with it. In
decode attention the first is how many heads share a key, and it counts twice. A product of one row is another kernel
than one of two (GEMV), and lies apart from all others. w₀ stands for the model without a table: far from all that was
measured, the factor is 1. A row whose repeats disagree counts as if it were farther away. Why a residual, and not a
time: the model has the trend over orders of magnitude, and what it misses changes slowly from shape to shape.

How wrong it is, is known from the measured kernels: each was predicted from the others. As in a random walk, variance
grows with the distance, so one that is nearer than its neighbours' own neighbours is trusted more.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from math import dist, exp, log, log2, sqrt
from statistics import median
from typing import NamedTuple

from xinqiao.chips.table import Kind, Row
from xinqiao.cost.kernel import Kernel, decode_attention, elementwise, gemm, prefill_attention, stored
from xinqiao.cost.unknown import Unknown

NEAREST = 5
NEAR = 0.1  # d₀²: neighbours nearer than a third of an octave count alike
OCTAVE = 0.3  # s: how much the logarithm changes in an octave, about
ALONE = 1 / 6.0**2  # w₀: one neighbour six octaves away and the model count alike
UNMEASURED = 0.3  # spread of what a table does not have, beside what it has: as wide as the widest constant
MEDIAN = 0.6745  # that half of the errors of a normal distribution with a standard deviation of 1 are below
FIRST = {"decode_attention": 2.0}  # what an octave of the first size counts, where that is not 1
OTHERS = 0.5  # of another size
APART = 4.0  # octaves between products of one row and of more


class Correction(NamedTuple):
    """What a modelled time is multiplied with, and the standard deviation of the logarithm of the result."""

    factor: float
    spread: float


class Point(NamedTuple):
    """A measured kernel: its place, log(measured / modelled), and the variance of what is said from it at a distance d:
    noise + growth × √(d² + d₀²)."""

    place: tuple[float, ...]
    residual: float
    noise: float
    growth: float = 0.0
    error: float = 0.0  # of `residual`, where it is predicted from the others


Group = list[Point]


class Measured:
    """A table, seen from one model of kernels' times."""

    def __init__(self, rows: Sequence[Row], seconds: Callable[[Kernel], float]) -> None:
        """seconds: the modelled time of one kernel, without its table; where it raises Unknown, the row is left out."""
        groups: dict[tuple[str, str], Group] = {}
        for row in rows:
            kernel = kernel_of(row.kind, row.format, row.shape)
            with suppress(Unknown):
                point = Point(place(kernel), log(row.seconds / seconds(kernel)), row.spread**2)
                groups.setdefault((kernel.kind, kernel.format), []).append(point)
        self._groups = {key: [_left_out(group, point) for point in group] for key, group in groups.items()}
        self._known: dict[tuple[str, str, tuple[float, ...]], Correction | None] = {}

    def correction(self, kernel: Kernel) -> Correction | None:
        """None: nothing of its kind and format was measured, or nothing says where it lies."""
        key = kernel.kind, kernel.format, kernel.shape
        if key not in self._known:
            group = self._groups.get(key[:2])
            known = group and kernel.shape and min(kernel.shape) > 0
            self._known[key] = _interpolate(group, place(kernel)) if group and known else None
        return self._known[key]

    @property
    def formats(self) -> set[str]:
        """Of the GEMMs."""
        return {form for kind, form in self._groups if kind == "gemm"}

    def spread(self, kind: str) -> float:
        """Standard deviation of log(seconds) over all kinds that end like that; UNMEASURED where there are none."""
        errors = [abs(p.error) for key, group in self._groups.items() if key[0].endswith(kind) for p in group]
        return median(errors) / MEDIAN if errors else UNMEASURED


def place(kernel: Kernel) -> tuple[float, ...]:
    """Where a kernel lies, so that distances mean how different two kernels' efficiencies may be."""
    first, *others = map(log2, kernel.shape)
    apart = APART if kernel.kind == "gemm" and first <= 0 else 0.0
    return (apart, FIRST.get(kernel.kind, 1.0) * first, *[OTHERS * size for size in others])


def _left_out(group: Group, point: Point) -> Point:
    others = [other for other in group if other is not point]
    if not others:
        return point._replace(error=point.residual, growth=point.residual**2)
    error = point.residual - log(_interpolate(others, point.place).factor)
    nearest = min(dist(point.place, other.place) for other in others)
    return point._replace(error=error, growth=error**2 / sqrt(nearest**2 + NEAR))


def _interpolate(group: Group, at: tuple[float, ...]) -> Correction:
    total = shift = variance = 0.0
    for far, point in sorted([(dist(point.place, at), point) for point in group])[:NEAREST]:
        square = far * far + NEAR
        weight = 1 / (square + point.noise / OCTAVE**2)
        total += weight
        shift += weight * point.residual
        variance += weight * (point.noise + point.growth * sqrt(square))
    return Correction(exp(shift / (total + ALONE)), sqrt(variance / total))


def kernel_of(kind: Kind, form: str, shape: tuple[int, ...]) -> Kernel:
    """The kernel that a row of a table measures; see `chips.table.SIZES`."""
    if kind == "gemm":
        m, n, k = shape
        return gemm(m, n, k, form)
    if kind == "grouped_gemm":
        m, n, k, groups = shape
        return gemm(m, n, k, form, groups=groups)
    if kind == "prefill_attention":
        sequences, length, heads, kv_heads, dim = shape
        keys = (length + 1) / 2
        return prefill_attention(sequences * length, keys, heads, (dim, dim), kv_heads=kv_heads, form=form)
    if kind == "decode_attention":
        sequences, keys, heads, kv_heads, dim = shape
        cache = sequences * keys * 2 * kv_heads * dim * stored(form)
        return decode_attention(sequences, keys, heads, (dim, dim), cache=cache, form=form)
    return _elementwise(kind, form, shape)


def _elementwise(kind: Kind, form: str, shape: tuple[int, ...]) -> Kernel:
    if kind == "elementwise":
        return elementwise(shape[0], passes=shape[1], form=form)
    if kind == "norm":
        return elementwise(shape[0] * shape[1], passes=4, form=form)._replace(kind="norm")
    if kind == "copy":
        return elementwise(shape[0], form="int8")
    return elementwise(shape[0] * shape[-1] if kind == "embedding" else 1, form=form)
