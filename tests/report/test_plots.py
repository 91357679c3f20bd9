"""Axes, the roofline, curves with their bands, bars with their intervals."""

import re

import pytest

from xinqiao.report import plots
from xinqiao.report.plots import Axis, Curve, Dot, Roof

ROOFS = [Roof("bf16", 1e14, used=True), Roof("int8", 2e14, used=False)]


def dot(name="a", intensity=10.0, rate=1e12, share=0.25):
    return Dot(name, intensity, rate, share, "native")


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(1.0, 100.0), [1, 2, 5, 10, 20, 50, 100]),
        (Axis(3.0, 40.0), [5, 10, 20]),
        (Axis(1.0, 1e6), [1, 10, 100, 1e3, 1e4, 1e5, 1e6]),
        (Axis(1e-3, 1e12), [1e-3, 1, 1e3, 1e6, 1e9, 1e12]),
        (Axis(0.0, 10.0, log=False), [0, 2, 4, 6, 8, 10]),
        (Axis(0.0, 99.0, log=False), [0, 20, 40, 60, 80]),
        (Axis(0.0, 120.0, log=False), [0, 20, 40, 60, 80, 100, 120]),
    ],
)
def test_ticks_are_round_and_few(axis, ticks):
    assert axis.ticks() == pytest.approx(ticks)


@pytest.mark.parametrize("high", [1.0, 1.7, 2.5, 3.0, 4.9, 5.0, 6.1, 7.0, 9.99])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_every_axis_has_ticks(high, scale):
    assert 2 <= len(Axis(0.0, high * scale, log=False).ticks()) <= 8


def shapes(plot, kind):
    return re.findall(rf'<\w+ class="{kind}"[^>]*points="([^"]*)"', plot.shapes)


def test_a_roof_rises_with_the_bandwidth_to_its_peak():
    (line,) = shapes(plots.roofline("t", [dot()], ROOFS[:1], 1e12), "roof used")
    points = [tuple(map(float, p.split(","))) for p in line.split()]
    assert points[1][1] == points[2][1] < points[0][1]  # flat after the ridge
    assert points[2][0] == 1000.0


def test_a_roof_that_nothing_uses_is_another_line():
    plot = plots.roofline("t", [dot()], ROOFS, 1e12)
    assert len(shapes(plot, "roof used")) == len(shapes(plot, "roof idle")) == 1


@pytest.mark.parametrize(("share", "wide"), [(1.0, 44.0), (0.25, 22.0), (1e-6, 5.0)])
def test_a_dot_is_as_large_as_its_share_of_the_time(share, wide):
    drawn = plots.roofline("t", [dot(share=share)], ROOFS, 1e12).shapes
    assert f'stroke-width="{wide}"' in drawn


def test_the_biggest_dots_have_names_that_hide_nothing():
    dots = [dot("far away", 0.1, 1e10, share=1e-6)] + [dot(f"operator {i}", share=1 / (i + 2)) for i in range(20)]
    labels = plots.roofline("t", dots, ROOFS, 1e12).labels
    named = [label.text for label in labels if label.text.startswith("operator")]
    assert named == ["operator 0", "operator 1"]  # above and below: all dots are at one place


def test_every_label_is_inside_the_frame():
    dots = [dot(str(i), 10.0**i, 10.0 ** (9 + i)) for i in range(5)]
    for label in plots.roofline("t", dots, ROOFS, 1e12).labels:
        assert 0 <= label.x <= 1
        assert 0 <= label.y <= 1


def test_the_band_goes_along_the_best_and_back_along_the_worst():
    curve = Curve([(10, 5), (20, 9)], [(8, 6), (16, 11)], [(12, 4), (24, 7)])
    plot = plots.trade("t", [curve])
    (band,) = shapes(plot, "band s0")
    xs = [float(p.split(",")[0]) for p in band.split()]
    assert xs[0] < xs[1] < xs[2] > xs[3]
    assert len(shapes(plot, "series s0")) == 1


def test_an_interval_reaches_from_end_to_end():
    assert 'd="M400,8H900M400,3V13M900,3V13"' in plots.whisker(50.0, 40.0, 90.0, 100.0)


def test_pieces_are_stacked_against_the_limit():
    drawn = plots.stacked([(0, 25.0), (3, 50.0)], 100.0, 80.0)
    assert re.findall(r'class="(p\d)" x="([\d.]+)" y="2" width="([\d.]+)"', drawn) == [
        ("p0", "0.0", "250.0"),
        ("p3", "250.0", "500.0"),
    ]
    assert 'class="limit" d="M800.0,0V16"' in drawn


def test_names_are_escaped():
    assert "<b>" not in plots.roofline("<b>", [dot("<b>")], [Roof("<b>", 1e14, used=True)], 1e12).shapes
