"""A script in a vendor's own words runs unchanged on two virtual devices, and means the same on every vendor's."""

import re

import pytest

from tests.examples.programs import EXAMPLES, run

SCRIPT = EXAMPLES / "vendor_scripts" / "train_npu.py"
CHIPS = [  # chip, device word, collective library, title
    ("ascend-910c", "npu", "hccl", "Ascend 910C"),
    ("cambricon-mlu590", "mlu", "cncl", "MLU590"),
    ("moore-threads-s5000", "musa", "mccl", "S5000"),
]


def numbers(text: str, name: str) -> list[float]:
    return [float(n) for n in re.findall(rf"{name} ([\d.]+)", text)]


@pytest.fixture(scope="module")
def first():
    return {}


@pytest.mark.parametrize("precision", [[], ["--fp32"]], ids=["mixed", "fp32"])
@pytest.mark.parametrize(("chip", "word", "library", "title"), CHIPS, ids=[c[0] for c in CHIPS])
def test_two_ranks(tmp_path, first, chip, word, library, title, precision):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.read_text().replace("npu", word).replace("hccl", library))
    text = run(script, *precision, chip=chip, ranks=2, folder=tmp_path)
    losses = numbers(text, "loss")
    assert losses == first.setdefault(str(precision), losses), "the same numbers on every vendor's device"
    assert len(losses) == 3
    assert losses[2] < 0.5 * losses[0]
    assert 0 < numbers(text, "time")[0] < 1000
    parameters = 3 * 128 + 32 * 128 + 128 * 128 + 128 + 129 * 8
    assert numbers(text, "peak")[0] > 4 * 4 * parameters  # weights, gradients, two moments
    assert title in text
