"""What docs/size-accuracy.md claims: errors against published measurements, and where constants come from."""

import statistics
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
pytest.importorskip("numpy")
import fit_cost
from published import points

from xinqiao.cost import constants

pytestmark = pytest.mark.slow
FOUND = points()


@pytest.fixture(scope="module")
def whole():
    return fit_cost.fit(FOUND)


@pytest.fixture(scope="module")
def held(whole):
    return fit_cost.held_out(FOUND, whole)


def test_a_fit_is_the_frozen_file(whole, held):
    """Nothing was changed by hand, and the fit gives the same every time."""
    assert whole.text(fit_cost.residual(held)) == constants.FILE.read_text(encoding="utf-8")


def test_where_a_fit_begins_does_not_matter(whole):
    """So a fit that begins at that of all points has not seen those that it leaves out."""
    rest = [p for p in FOUND if p.benchmark in ("matrix products", "expert messages")]
    assert fit_cost.fit(rest, whole).vector == pytest.approx(fit_cost.fit(rest).vector, abs=0.01)


def test_known_groups_are_near():
    assert statistics.median(abs(fit_cost.error(p)) for p in FOUND) <= 0.10


def test_groups_held_out_are_near(held):
    assert statistics.median(a.off for a in held) <= 0.15


def test_intervals_hold_what_they_say(held):
    """Of groups that no constant has seen; the residual's width is that of the other groups."""
    inside = 0
    for name in {a.group for a in held}:
        mine = [a for a in held if a.group == name]
        numbers = {a.point.number for a in mine}
        width = fit_cost.residual([a for a in held if a.point.number not in numbers])
        inside += sum(a.inside(width) for a in mine)
    assert 0.70 <= inside / len(held) <= 0.95
