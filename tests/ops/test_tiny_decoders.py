"""Tiny decoders: the same losses to the bit on the CPU and on a virtual chip, and needles that a window cannot find."""

import re
from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch

from tests.examples.programs import EXAMPLES, run

SCRIPT = EXAMPLES / "sparse_decoder.py"


@pytest.fixture(scope="module")
def example():
    spec = spec_from_file_location("sparse_decoder", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["nsa", "dsa"])
def test_a_chip_trains_to_the_same_losses(kind, tmp_path):
    """Two steps of each length, the longest 4,096 tokens; losses are printed in hexadecimal, all their bits."""
    host = run(SCRIPT, kind, "--steps", "2", folder=tmp_path)
    chip = run(SCRIPT, kind, "--steps", "2", "--device", "npu", chip="ascend-910c", folder=tmp_path)
    losses = re.findall(r"0x[\da-f.p+-]+", host)
    assert len(losses) == 6
    assert losses == re.findall(r"0x[\da-f.p+-]+", chip)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least", "most"), [("nsa", 0.8, 1.0), ("dsa", 0.7, 1.0), ("window", 0.0, 0.3)])
def test_needles(kind, least, most, example):
    """128 questions; one in eight is a guess, which finds 30 % of them less than once in a million."""
    torch.set_num_threads(1)  # sums of gradients are then added in one order
    model, losses = example.train(kind, "cpu")
    assert len(losses) == sum(steps for *_, steps in example.SCHEDULE)
    assert least <= example.accuracy(model, "cpu") <= most
