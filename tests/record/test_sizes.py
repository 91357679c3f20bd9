"""Answers of `size` as files: every answer is read whole, several or one; what is none is refused with its reason."""

import json

import pytest

from tests.report.size_samples import answer, document, silent
from xinqiao.errors import InputError
from xinqiao.record import sizes
from xinqiao.record.files import read
from xinqiao.record.sizes import sized
from xinqiao.size import answer as of_size


def read_back(data, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(data))
    return read(tmp_path / "s.json")


def test_several_answers(tmp_path):
    record = read_back(document(answer(), silent()), tmp_path)
    assert [a.title for a in record.answers] == ["A", "S"]
    assert record.answers[0].memory.parts == {"weights": 30 * 2**30, "cache": 10 * 2**30}


def test_one_answer_stands_beside_schema_and_kind(tmp_path):
    record = read_back({"schema": 1, "kind": "size"} | answer(), tmp_path)
    assert record == sized(document(answer()))


def test_keys_of_a_newer_answer_are_left_aside(tmp_path):
    assert read_back(document(answer(new=1)), tmp_path) == sized(document(answer()))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (document(), "Expected `array` of length >= 1"),
        (document(3), r"Expected `object`, got `int` - at `\$.answers\[0\]`"),
        (document(answer(chips=0)), r"`int` >= 1 - at `\$.answers\[0\].chips`"),
        (document(answer(title=None)), r"\.title"),
        (document(answer(tpot_ms={"value": 1.0})), r"missing required field `low` - at `\$.answers\[0\].tpot_ms`"),
        (document(answer(tpot_ms={"value": -1.0, "low": 1.0, "high": 1.0})), "> 0"),
        (document(answer(bandwidth=1e300)), r"<= 1e\+30"),
        (document(answer(memory=[])), r"\.memory"),
        (document(answer(memory={"total": 1.0, "capacity": 1.0, "fits": True, "weights": "x"})), r"\.memory\.parts"),
        ({"schema": 1, "kind": "size"}, "missing required field `model`"),
        ({"schema": 1, "kind": "size", "answers": 1}, r"\$.answers"),
        (document(answer()) | {"schema": 2}, "schema 2, this version reads 1"),
        (document(answer()) | {"more": 1}, "unknown field"),
    ],
)
def test_what_is_not_an_answer(data, says, tmp_path):
    with pytest.raises(InputError, match=says):
        read_back(data, tmp_path)


@pytest.mark.parametrize("name", ["Answer", "Trade", "Gain"])
def test_a_record_has_nothing_that_size_does_not_say(name):
    """And what it says is not renamed on one side only."""
    theirs, ours = (set(getattr(m, name).__struct_fields__) for m in (of_size, sizes))
    assert ours <= theirs


def test_an_operator_is_a_row():
    assert sizes.Operator.__struct_fields__ == of_size.Row.__struct_fields__
