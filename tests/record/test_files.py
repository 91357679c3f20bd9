"""Record files: what is written is read back, and what is not a record is refused with its reason."""

import json

import msgspec
import pytest

from tests.report.samples import operator, parting, port, proof, run
from xinqiao.errors import InputError
from xinqiao.record.files import read, read_all, write


@pytest.mark.parametrize("record", [run(), port(), proof(partings=[parting()])], ids=["run", "port", "proof"])
def test_round_trip(record, tmp_path):
    write(record, tmp_path / "r.json")
    assert read(tmp_path / "r.json") == record
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_names_in_any_language(tmp_path):
    record = run(title="昇腾", line="训练.py:1 in main", argv=["a b", '"', "\u202e"])
    write(record, tmp_path / "r.json")
    assert read(tmp_path / "r.json") == record


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    write(run(title="old"), tmp_path / "r.json")
    with pytest.raises(UnicodeEncodeError):
        write(run(title="\ud800"), tmp_path / "r.json")
    assert read(tmp_path / "r.json").title == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def altered(**changes):
    data = {**msgspec.to_builtins(run()), "kind": "run", **changes}
    return json.dumps({k: v for k, v in data.items() if v is not None}).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a record"),
        (b"[]", "not a record"),
        (b"\xff\xfe", "not a record"),
        (altered(kind="other"), "kind"),
        (altered(extra=1), "unknown field `extra`"),
        (altered(rank="zero"), "rank"),
        (altered(chip=None), "missing required field `chip`"),
        (altered(mode="dreams"), "mode"),
        (altered(operators=[{**msgspec.to_builtins(operator()), "support": "maybe"}]), r"operators\[0\].support"),
        (altered(memory=[{"device": 0}]), r"missing required field `capacity`.*memory\[0\]"),
        (altered(readbacks=[{"line": "x", "values": ["1"]}]), r"readbacks\[0\].values\[0\]"),
        (altered()[:-20], "truncated"),
        (altered() + b"{}", "trailing characters"),
        (altered(schema=99), "schema 99, this version reads 1"),
    ],
)
def test_what_is_not_a_record(data, says, tmp_path):
    (tmp_path / "r.json").write_bytes(data)
    with pytest.raises(InputError, match=says) as caught:
        read(tmp_path / "r.json")
    assert str(caught.value).startswith(str(tmp_path / "r.json"))


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
def test_a_loss_that_is_not_finite(value, tmp_path):
    write(run(values=[value]), tmp_path / "r.json")
    assert repr(read(tmp_path / "r.json").readbacks[0].values) == repr([value])


def test_a_distance_that_is_not_finite(tmp_path):
    record = proof(partings=[parting(distance=float("inf")), parting(distance=None)])
    write(record, tmp_path / "r.json")
    assert read(tmp_path / "r.json") == record


def test_a_folder_stands_for_what_a_proof_left_in_it(tmp_path):
    kept = {"original.json": run(title="A"), "port.json": run(title="B"), "port.rank1.json": run(title="B", rank=1),
            "proof.json": proof()}  # fmt: skip
    for name, record in {**kept, "portable.json": port(), "other.json": port()}.items():
        write(record, tmp_path / name)
    assert read_all([tmp_path]) == list(kept.values())
    assert read_all([tmp_path / "other.json", tmp_path])[0] == port()


def test_a_folder_without_records(tmp_path):
    with pytest.raises(InputError, match="none of the records"):
        read_all([tmp_path])
