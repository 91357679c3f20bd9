"""Plots on axes, and bars with intervals. As in charts.py shapes and words are apart: shapes fill a frame of 1000 × 320
(bars: 1000 × 16) that is stretched, and a label says where in the frame it stands, so that words keep their size."""

from collections.abc import Callable, Iterable, Sequence
from math import ceil, floor, log10, sqrt
from typing import Literal, NamedTuple

from markupsafe import Markup

from xinqiao.report import numbers
from xinqiao.report.charts import STYLES, Point

WIDTH, HEIGHT, BAR = 1000, 320, 16
PARTS = 8  # kinds of piece of a stacked bar that the page's style tells apart
NAMED = 5  # dots that have their name beside them
_DOT = 44  # pixels across, of a dot that is all of the time
_LEAST_DOT = 5

Side = Literal["start", "middle", "end"]


class Label(NamedTuple):
    """Words at (x, y) of the frame, each from 0 to 1, from the left and from the top."""

    x: float
    y: float
    text: str
    side: Side = "middle"


class Plot(NamedTuple):
    """labels: inside the frame. ticks: below it, of the horizontal axis."""

    title: str
    shapes: Markup
    labels: list[Label]
    ticks: list[Label]


class Axis(NamedTuple):
    low: float
    high: float
    log: bool = True

    def at(self, value: float) -> float:
        """From 0 to 1 within the axis."""
        if self.log:
            return log10(value / self.low) / log10(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round numbers within the axis."""
        if self.log:
            return self._decades()
        step = 10.0 ** floor(log10(self.high - self.low))
        step = next(s for s in (step / 5, step / 2, step, 2 * step) if (self.high - self.low) / s <= 6)
        return [i * step for i in range(ceil(self.low / step), floor(self.high / step) + 1)]

    def _decades(self) -> list[float]:
        first, last = floor(log10(self.low)), ceil(log10(self.high))
        every = ceil((last - first) / 6)
        leading = (1, 2, 5) if self.high / self.low <= 150 else (1,)
        found = (m * 10.0**e for e in range(first, last + 1, every) for m in leading)
        return [v for v in found if self.low <= v <= self.high]


def span(values: Iterable[float], room: float = 1.4) -> Axis:
    """A logarithmic axis around positive numbers, with a factor of `room` at both ends."""
    found = list(values)
    return Axis(min(found) / room, max(found) * room)


class Dot(NamedTuple):
    """One operator. intensity: FLOP/byte. rate: FLOP/s that it reaches. share: of the time. kind: a style's name."""

    name: str
    intensity: float
    rate: float
    share: float
    kind: str


class Roof(NamedTuple):
    """peak: FLOP/s. used: an operator runs under it."""

    name: str
    peak: float
    used: bool


def roofline(title: str, dots: Sequence[Dot], roofs: Sequence[Roof], bandwidth: float) -> Plot:
    """FLOP/byte against FLOP/s, both logarithmic. At least one dot and one roof."""
    ridges = [roof.peak / bandwidth for roof in roofs]
    x = span([d.intensity for d in dots] + ridges)
    y = span([d.rate for d in dots] + [roof.peak for roof in roofs], 2.0)
    shapes, ticks = _grid(x, y)
    slope = 1 - y.at(x.low * bandwidth)  # where the sloping line begins: it would cross a label there
    labels = [one for one in _scale(y, lambda value: numbers.flops(value) + "/s") if abs(one.y - slope) > 0.08]
    above = 0.0  # the roof above this one, from the top
    for roof in sorted(roofs, key=lambda roof: -roof.peak):
        start = max(x.low, y.low / bandwidth)
        corner = [(start, start * bandwidth), (roof.peak / bandwidth, roof.peak), (x.high, roof.peak)]
        shapes.append(_line(f"roof {'used' if roof.used else 'idle'}", [(x.at(a), y.at(b)) for a, b in corner]))
        down = 1 - y.at(roof.peak)
        labels.append(Label(0.995, down + (0.035 if down - above < 0.08 and above else -0.035), roof.name, "end"))
        above = down
    for dot in sorted(dots, key=lambda dot: -dot.share):
        place = (x.at(dot.intensity), y.at(dot.rate))
        shapes.append(_dot(place, dot))
    return Plot(title, Markup("").join(shapes), labels + _names(x, y, dots, labels), ticks)


def _names(x: Axis, y: Axis, dots: Sequence[Dot], there: Sequence[Label]) -> list[Label]:
    """Names of the biggest dots, each where it hides no other; a dot that has no such place is in the table only."""
    placed: list[Label] = []
    for dot in sorted(dots, key=lambda dot: -dot.share)[:NAMED]:
        across, down = x.at(dot.intensity), 1 - y.at(dot.rate)
        away = 0.04 + sqrt(dot.share) * _DOT / 2 / HEIGHT
        side: Side = "start" if across < 0.3 else "end" if across > 0.7 else "middle"
        for where in (down + away, down - away):
            label = Label(across, where, dot.name, side)
            if 0.03 < where < 0.97 and not any(_hides(label, other) for other in (*there, *placed)):
                placed.append(label)
                break
    return placed


def _hides(one: Label, other: Label) -> bool:
    (a, b), (c, d) = _extent(one), _extent(other)
    return a < d and c < b and abs(one.y - other.y) < 0.07


def _extent(label: Label) -> tuple[float, float]:
    """From left to right, as wide as a narrow screen shows it."""
    wide = 0.02 * len(label.text)
    left = {"start": 0.0, "middle": wide / 2, "end": wide}[label.side]
    return label.x - left, label.x - left + wide


class Curve(NamedTuple):
    """Points from left to right, and the curves of the best and of the worst that the interval allows."""

    points: Sequence[Point]
    best: Sequence[Point]
    worst: Sequence[Point]


def trade(title: str, curves: Sequence[Curve]) -> Plot:
    """Latency (logarithmic) against throughput (from 0), a curve a chip with its band. At least one point."""
    every = [p for curve in curves for p in (*curve.points, *curve.best, *curve.worst)]
    x = span(p[0] for p in every)
    y = Axis(0.0, max(p[1] for p in every) * 1.1, log=False)
    shapes, ticks = _grid(x, y)

    def placed(points: Iterable[Point]) -> list[Point]:
        return [(x.at(a), y.at(b)) for a, b in points]

    for number, curve in enumerate(curves):
        style = f"s{number % STYLES}"
        shapes.append(_line(f"band {style}", placed([*curve.best, *reversed(curve.worst)]), "polygon"))
        shapes.append(_line(f"series {style}", placed(curve.points)))
    return Plot(title, Markup("").join(shapes), _scale(y, _short), ticks)


def whisker(value: float, low: float, high: float, top: float) -> Markup:
    """A bar to `value` on a scale from 0 to `top`, and a line from `low` to `high`."""
    a, b = (WIDTH * end / top for end in (low, high))
    middle = BAR / 2
    return Markup('<rect class="native" y="2" width="{:.0f}" height="{}"/><path class="whisker" d="{}"/>').format(
        max(3.0, WIDTH * value / top), BAR - 4,
        f"M{a:.0f},{middle:g}H{b:.0f}M{a:.0f},3V{BAR - 3}M{b:.0f},3V{BAR - 3}",
    )  # fmt: skip


def hatched() -> Markup:
    """A bar whose length nobody knows."""
    strokes = "".join(f"M{left},{BAR}L{left + BAR},0" for left in range(0, WIDTH, 20))
    return Markup('<path class="hatch" d="{}"/>').format(strokes)


def stacked(pieces: Iterable[tuple[int, float]], top: float, limit: float | None) -> Markup:
    """(kind, size) one after the other on a scale from 0 to `top`, and a line at `limit`."""
    drawn, left = [], 0.0
    for number, size in pieces:
        wide = WIDTH * size / top
        drawn.append(
            Markup('<rect class="p{}" x="{:.1f}" y="2" width="{:.1f}" height="{}"/>').format(
                number % PARTS, left, wide, BAR - 4
            )
        )
        left += wide
    if limit is not None:
        drawn.append(
            Markup('<path class="limit" d="M{0:.1f},0V{1}"/>').format(min(WIDTH * limit / top, WIDTH - 1), BAR)
        )
    return Markup("").join(drawn)


def _grid(x: Axis, y: Axis) -> tuple[list[Markup], list[Label]]:
    """Lines at the round numbers of both axes, and the horizontal one's labels."""
    across = [x.at(value) for value in x.ticks()]
    up = [y.at(value) for value in y.ticks()]
    path = "".join(f"M{WIDTH * a:.1f},0V{HEIGHT}" for a in across)
    path += "".join(f"M0,{HEIGHT * (1 - b):.1f}H{WIDTH}" for b in up)
    ticks = [Label(a, 1.0, _short(value)) for a, value in zip(across, x.ticks(), strict=True)]
    return [Markup('<path class="grid" d="{}"/>').format(path)], ticks


def _scale(y: Axis, write: Callable[[float], str]) -> list[Label]:
    """Labels of the vertical axis, each above its line, or below the line at the top."""
    places = [(1 - y.at(value), write(value)) for value in y.ticks() if y.at(value) > 0.01]
    return [Label(0.005, down + (0.03 if down < 0.06 else -0.03), text, "start") for down, text in places]


def _line(kind: str, points: Iterable[Point], tag: str = "polyline") -> Markup:
    where = " ".join(f"{WIDTH * a:.1f},{HEIGHT * (1 - b):.1f}" for a, b in points)
    return Markup('<{} class="{}" points="{}"/>').format(tag, kind, where)


def _dot(place: Point, dot: Dot) -> Markup:
    """A line without length and with round ends: a circle that stays one where the frame is stretched."""
    wide = max(_LEAST_DOT, _DOT * sqrt(dot.share))
    return Markup('<path class="dot {}" stroke-width="{:.1f}" d="M{:.1f},{:.1f}h.01"/>').format(
        dot.kind, wide, WIDTH * place[0], HEIGHT * (1 - place[1])
    )


def _short(value: float) -> str:
    """'20', '1.5 k', '100 G': a number and its prefix."""
    step = 0
    while value >= 1000 and step < 6:
        value, step = value / 1000, step + 1
    return f"{value:.3g} {' kMGTPE'[step]}".strip()
