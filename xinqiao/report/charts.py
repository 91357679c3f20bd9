"""Small SVG charts as safe markup. They scale with the page and take their colours from its style."""

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 220, 8, 24


def lines(series: Sequence[Sequence[float]], labels: Sequence[str], title: str) -> Markup:
    """One polyline a series over its index."""
    values = [v for s in series for v in s if v == v]
    low, high = min(values), max(values)
    longest = max(len(s) for s in series)
    drawn = []
    for number, one in enumerate(series):
        points = [(_x(i, longest - 1), _y(v, low, high)) for i, v in enumerate(one) if v == v]
        drawn.append(_polyline(points, f"series s{number % 4}"))
    texts = [_text(_LEFT, 14, f"{high:.6g}"), _text(_LEFT, _HEIGHT - _BOTTOM - 4, f"{low:.6g}")]
    texts += [_text(_WIDTH - 8, 14 + 16 * i, label, f"end s{i % 4}") for i, label in enumerate(labels)]
    return _svg([*drawn, *texts], title)


def area(points: Sequence[tuple[float, float]], peak: str, length: str, title: str) -> Markup:
    """A filled curve of (position, height), with its highest value and its length written."""
    end = points[-1][0] or 1.0
    high = max(v for _, v in points) or 1.0
    shown = [(_x(t, end), _y(v, 0.0, high)) for t, v in points]
    base = _HEIGHT - _BOTTOM
    steps = []
    for i, (x, y) in enumerate(shown):
        if i:
            steps.append((x, shown[i - 1][1]))
        steps.append((x, y))
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(shown[0][0], base), *steps, (shown[-1][0], base)])
    shape = Markup('<polygon class="area" points="{}"/>').format(outline)
    return _svg([shape, _text(_LEFT, 14, peak), _text(_WIDTH - 8, _HEIGHT - 6, length, "end")], title)


def _x(position: float, end: float) -> float:
    return _LEFT + (_WIDTH - 2 * _LEFT) * (position / end if end else 0.5)


def _y(value: float, low: float, high: float) -> float:
    part = (value - low) / (high - low) if high > low else 0.5
    return 20 + (_HEIGHT - _BOTTOM - 20) * (1 - part)


def _polyline(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    return Markup('<polyline class="{}" points="{}"/>').format(kind, " ".join(f"{x:.1f},{y:.1f}" for x, y in points))


def _text(x: float, y: float, text: str, kind: str = "") -> Markup:
    return Markup('<text class="{}" x="{:.0f}" y="{:.0f}">{}</text>').format(kind, x, y, text)


def _svg(parts: Sequence[Markup], title: str) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img"><title>{}</title>').format(_WIDTH, _HEIGHT, escape(title))
    return head + Markup("").join(parts) + Markup("</svg>")
