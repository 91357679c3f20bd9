"""Seeded faults: the proof must differ, and name the line; a right port must be the same."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.prove.faults import FAULTS, Fault
from tests.warm import launches
from xinqiao.chips.catalog import ORIGIN
from xinqiao.prove.lines import Lines
from xinqiao.prove.proof import prove_records
from xinqiao.prove.runs import Program, Tree, run

PROJECT = Path(__file__).parent / "project"
UNNAMED = {"a lost zero_grad"}  # found where the gradients are first used
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def program(folder, ranks):
    return Program(Path("train.py"), [str(folder)], ranks)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """The original's records, by number of ranks."""
    folder = tmp_path_factory.mktemp("original")
    with launches():
        return {
            ranks: run(Tree(PROJECT / "original", ORIGIN, folder / f"{ranks}.json"), program(folder, ranks))
            for ranks in (1, 2)
        }


def proof_of(folder, originals, ranks):
    port = folder / "port"
    lines = Lines(PROJECT / "original", port)
    records = run(Tree(port, "ascend-910c", folder / "port.json"), program(folder, ranks))
    return prove_records(originals[ranks], records, lines, wall_seconds=0.0)


def seeded(fault: Fault, folder):
    """A port with the fault, and (file, line) that must be named."""
    shutil.copytree(PROJECT / "port", folder / "port")
    path = folder / "port" / fault.file
    text = path.read_text()
    assert text.count(fault.old) == 1, fault.name
    path.write_text(text.replace(fault.old, fault.new))
    if fault.at is None:
        return fault.file, text[: text.index(fault.old)].count("\n") + 1
    at = (folder / "port" / fault.at[0]).read_text()
    return fault.at[0], at[: at.index(fault.at[1])].count("\n") + 1


def examined(fault: Fault, folder, originals):
    """(the proof, whether one of its first three differences stands at the line that must be named)."""
    folder.mkdir()
    file, line = seeded(fault, folder)
    proof = proof_of(folder, originals, fault.ranks)
    places = [(p.port.file, p.port.line) for p in proof.partings[:3] if p.weight == "differs" and p.port]
    return proof, any(f == file and abs(n - line) <= 1 for f, n in places), places


@pytest.fixture(scope="module")
def results(originals, tmp_path_factory):
    """All faults, two at a time: each has processes of its own."""
    folder = tmp_path_factory.mktemp("faults")
    with launches(), ThreadPoolExecutor(2) as pool:
        work = {f.name: pool.submit(examined, f, folder / f"{n}", originals) for n, f in enumerate(FAULTS)}
        return {name: job.result() for name, job in work.items()}


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_right_port_is_the_same(ranks, originals, tmp_path):
    shutil.copytree(PROJECT / "port", tmp_path / "port")
    with launches():
        proof = proof_of(tmp_path, originals, ranks)
    assert [p.message for p in proof.partings if p.weight != "note"] == []
    assert proof.verdict == "same"
    assert proof.numbers_equal == proof.numbers > 0
    assert proof.printed_equal == proof.printed > 4
    assert proof.modules_equal == proof.modules > 20


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name.replace(" ", "-"))
def test_a_fault_is_found(fault, results):
    proof, _, _ = results[fault.name]
    assert proof.verdict == "differs"


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.name not in UNNAMED], ids=lambda f: f.name.replace(" ", "-"))
def test_a_fault_is_named(fault, results):
    _, named, places = results[fault.name]
    assert named, places
