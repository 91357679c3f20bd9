"""Small SVG drawings as safe markup. They hold shapes only: words stand beside them as HTML, so that they stay readable
where the drawing is narrow. Colours come from the page's style."""

from collections.abc import Sequence
from math import isfinite

from markupsafe import Markup

STYLES = 4  # kinds of line that the page's style tells apart
_WIDTH, _HEIGHT = 1000, 220
_MOST_POINTS = 600  # of one curve; the rest could not be told apart on a screen

Point = tuple[float, float]


def lines(series: Sequence[Sequence[float]], title: str) -> Markup | None:
    """One line a series over its index; a number that is not finite leaves a gap. None where nothing can be drawn."""
    finite = [v for one in series for v in one if isfinite(v)]
    longest = max((len(one) for one in series), default=0)
    if not finite or longest < 2:
        return None
    low, high = min(finite), max(finite)
    drawn = []
    for number, one in enumerate(series):
        for piece in _pieces(one):
            points = [(_x(i, longest - 1), _y(v, low, high)) for i, v in thin(piece)]
            drawn.append(_shape("polyline", f"series s{number % STYLES}", points))
    return _svg(drawn, title)


def area(curve: Sequence[Point], top: float, title: str) -> Markup:
    """A filled staircase of (position, height): a height holds until the next position. top: the height of the frame.

    curve has at least two points, the first at the smallest position."""
    end = curve[-1][0]
    steps: list[Point] = []
    for position, height in thin(curve):
        x, y = _x(position, end), _y(height, 0.0, top)
        if steps:
            steps.append((x, steps[-1][1]))
        steps.append((x, y))
    floor = _y(0.0, 0.0, top)
    return _svg([_shape("polygon", "area", [(steps[0][0], floor), *steps, (steps[-1][0], floor)])], title)


def bar(share: float, kind: str) -> Markup:
    """A bar over `share` (0 to 1) of the width; kind is a name of the page's style."""
    return Markup(
        '<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="{}" width="{:.0f}" height="10"/></svg>'
    ).format(kind, max(3.0, 1000 * share))


def swatch(number: int) -> Markup:
    """A piece of the line that stands for series `number`, for a legend."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 36 10" aria-hidden="true">'
        '<polyline class="series s{}" points="0,5 36,5"/></svg>'
    ).format(number % STYLES)


def thin(points: Sequence[Point]) -> list[Point]:
    """At most 600 points: the lowest and the highest of each stretch, and both ends, so that no peak is lost."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    length = -(-len(points) * 2 // (_MOST_POINTS - 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), length):
        stretch = range(start, min(start + length, len(points)))
        kept |= {min(stretch, key=lambda i: points[i][1]), max(stretch, key=lambda i: points[i][1])}
    return [points[i] for i in sorted(kept)]


def _pieces(values: Sequence[float]) -> list[list[Point]]:
    """The stretches of finite numbers, each with its index."""
    pieces: list[list[Point]] = [[]]
    for i, value in enumerate(values):
        if isfinite(value):
            pieces[-1].append((float(i), value))
        elif pieces[-1]:
            pieces.append([])
    return [p for p in pieces if p]


def _x(position: float, end: float) -> float:
    return _WIDTH * (position / end if end else 0.5)


def _y(value: float, low: float, high: float) -> float:
    part = (value - low) / (high - low) if high > low else 0.5
    return 6 + (_HEIGHT - 12) * (1 - part)


def _shape(tag: str, kind: str, points: Sequence[Point]) -> Markup:
    where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<{} class="{}" points="{}"/>').format(tag, kind, where)


def _svg(parts: Sequence[Markup], title: str) -> Markup:
    head = Markup('<svg class="chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}</title>')
    return head.format(_WIDTH, _HEIGHT, title) + Markup("").join(parts) + Markup("</svg>")
