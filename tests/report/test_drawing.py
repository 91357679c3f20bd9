"""Numbers with their units, and the curves."""

import math
import re

import pytest

from xinqiao.report import charts, numbers


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (numbers.seconds(0), "0 s"),
        (numbers.seconds(83.4), "83.4 s"),
        (numbers.seconds(0.0123), "12.3 ms"),
        (numbers.seconds(4.56e-6), "4.56 µs"),
        (numbers.seconds(3.2e-8), "32 ns"),
        (numbers.data(999), "999 B"),
        (numbers.data(1_340_000_000), "1.34 GB"),
        (numbers.memory(64 * 2**30), "64 GiB"),
        (numbers.memory(9_598_976), "9.15 MiB"),
        (numbers.flops(2.5e9), "2.50 GFLOP"),
        (numbers.count(1234567), "1,234,567"),
        (numbers.percent(0), "0 %"),
        (numbers.percent(0.0001), "<0.1 %"),
        (numbers.percent(0.042), "4.2 %"),
        (numbers.percent(0.61), "61 %"),
        (numbers.exact(2.819157600402832), "2.8191576"),
        (numbers.exact(math.nan), "nan"),
    ],
)
def test_numbers(said, expected):
    assert said == expected


def points(markup):
    return [
        [tuple(map(float, p.split(","))) for p in found.split()] for found in re.findall(r'points="([^"]*)"', markup)
    ]


def test_a_number_that_is_not_finite_leaves_a_gap():
    drawn = points(charts.lines([[1.0, 2.0, math.nan, 4.0, math.inf, 5.0]], "t"))
    assert [len(piece) for piece in drawn] == [2, 1, 1]


@pytest.mark.parametrize("series", [[], [[]], [[1.0]], [[math.nan, math.nan]]])
def test_nothing_to_draw(series):
    assert charts.lines(series, "t") is None


@pytest.mark.parametrize("length", [2, 600, 601, 5000, 100_000])
def test_a_thinned_curve_keeps_its_ends_and_its_peak(length):
    curve = [(float(i), 1.0 if i == length // 3 else 0.5) for i in range(length)]
    thinned = charts.thin(curve)
    assert len(thinned) <= 600
    assert (thinned[0], thinned[-1]) == (curve[0], curve[-1])
    assert (float(length // 3), 1.0) in thinned
    assert thinned == sorted(thinned)


def test_memory_is_a_staircase_below_its_capacity():
    (drawn,) = points(charts.area([(0.0, 0.0), (1.0, 50.0), (2.0, 0.0)], 100.0, "t"))
    heights = [y for _, y in drawn]
    assert drawn[2][0] == drawn[3][0]  # it rises at once
    assert min(heights) == pytest.approx(110.0)  # half of the frame's 220


def test_titles_are_escaped():
    assert "<b>" not in charts.lines([[1.0, 2.0]], "<b>")
