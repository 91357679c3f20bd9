"""Which numbers are held against which, and how far apart they are."""

import math

import pytest

from tests.report.samples import run
from xinqiao.record.schema import Readback
from xinqiao.report.lineup import compare

NAN, INF = math.nan, math.inf


def reads(*series):
    return run(readbacks=[Readback(line=f"train.py:{i} in main", values=list(s)) for i, s in enumerate(series)])


@pytest.mark.parametrize(
    ("first", "second", "difference", "identical"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, True),
        ([1.0, 2.0], [1.5, 2.25], 0.5, False),
        ([0.0], [-0.0], 0.0, False),  # equal, but not bit for bit
        ([NAN], [NAN], 0.0, True),
        ([NAN], [1.0], INF, False),
        ([INF], [INF], 0.0, True),
        ([INF], [-INF], INF, False),
        ([1.0], [1.0, 2.0], None, False),
        ([], [], 0.0, True),
    ],
)
def test_two_series(first, second, difference, identical):
    (one,) = compare([reads(first), reads(second)]).lineups
    assert (one.difference, one.identical) == (difference, identical)


def test_series_are_lined_up_by_order():
    found = compare([reads([1.0], [2.0, 3.0]), reads([1.0], [2.0, 3.0])])
    assert [[s.values for s in one.series] for one in found.lineups] == [[[1.0], [1.0]], [[2.0, 3.0], [2.0, 3.0]]]
    assert (found.identical, found.numbers) == (True, 3)


def test_a_series_without_a_partner_is_said():
    found = compare([reads([1.0], [2.0]), reads([1.0])])
    assert [one.missing for one in found.lineups] == [0, 1]
    assert not found.lined_up
    assert not found.identical


def test_the_worst_series_counts():
    found = compare([reads([1.0], [2.0]), reads([1.0], [2.5])])
    assert (found.identical, found.difference) == (False, 0.5)


def test_three_runs_are_held_to_the_first():
    (one,) = compare([reads([1.0]), reads([2.0]), reads([4.0])]).lineups
    assert one.difference == 3.0


def test_ranks_are_not_compared_with_each_other():
    found = compare([run(rank=0, ranks=2), run(rank=1, ranks=2)])
    assert (len(found.lineups), found.compared, found.lined_up) == (2, [], True)


def test_shapes_runs_have_no_numbers_to_compare():
    assert compare([run(mode="shapes"), run()]).compared == []
