"""The CUDA project on the virtual card computes what it computes on the CPU."""

import json

import pytest

from tests.examples.programs import EXAMPLES, run

PROJECT = EXAMPLES / "gpt-cuda"
CARD = "nvidia-h200"


def losses(folder, *arguments, chip="", ranks=1):
    """Losses per step of train.py in `folder`, on the CPU where no chip is given."""
    folder.mkdir(exist_ok=True)
    device = () if chip else ("--device", "cpu")
    run(PROJECT / "train.py", *device, "--out-dir", ".", *arguments, chip=chip, ranks=ranks, folder=folder)
    return json.loads((folder / "losses.json").read_text())


@pytest.mark.parametrize("optimizer", ["default", "foreach", "fused", "forloop"])
def test_float32_equals_the_cpu_bit_for_bit(tmp_path, optimizer):
    words = ("--optimizer", optimizer, "--steps", "8")
    host = losses(tmp_path / "cpu", *words)
    assert losses(tmp_path / "card", *words, chip=CARD) == host
    assert host[-1] < host[0] - 0.1


@pytest.mark.slow
def test_two_ranks_equal_two_cpu_processes(tmp_path):
    host = losses(tmp_path / "cpu", "--steps", "8", ranks=2)
    assert losses(tmp_path / "cards", "--steps", "8", ranks=2, chip=CARD) == host
    assert losses(tmp_path / "alone", "--steps", "8") != host


@pytest.mark.slow
def test_reduced_precision_stays_near_float32(tmp_path):
    exact = losses(tmp_path / "float32", "--steps", "8", chip=CARD)
    for dtype in ("bfloat16", "float16"):
        reduced = losses(tmp_path / dtype, "--dtype", dtype, "--steps", "8", chip=CARD)
        assert reduced != exact, dtype
        assert reduced == pytest.approx(exact, abs=0.02), dtype


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["", CARD], ids=["cpu", "card"])
def test_resume_continues_as_if_never_stopped(tmp_path, chip):
    words = ("--dropout", "0.1", "--steps", "8")
    whole = losses(tmp_path, *words, chip=chip)
    assert losses(tmp_path, *words, "--resume", chip=chip) == whole[4:]


def test_sample_loads_what_the_card_wrote(tmp_path):
    losses(tmp_path / "out", "--steps", "2", chip=CARD)
    for chip in ("", CARD):
        text = run(PROJECT / "sample.py", "12+30=", chip=chip, folder=tmp_path)
        assert text.startswith("12+30=")
