"""The DeepSeek-V3-shaped example: its size, its routing, and the memory that it takes."""

import re
from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch
import torch.nn.functional as F

from tests.examples.programs import EXAMPLES, run

FOLDER = EXAMPLES / "deepseek_v3"
STEP = FOLDER / "train_step.py"


@pytest.fixture(scope="module")
def model():
    spec = spec_from_file_location("deepseek_model", FOLDER / "model.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_parameters_are_those_of_the_published_sizes(model):
    with torch.device("meta"):
        whole = model.DeepSeekV3(model.Config(), length=32)
    attention = 7168 * (1536 + 576) + 1536 * 24576 + 512 * 32768 + 16384 * 7168 + 1536 + 512 + 2 * 7168  # and norms
    experts = 257 * 3 * 7168 * 2048 + 256 * 7168
    counted = 61 * attention + 3 * (3 * 7168 * 18432) + 58 * experts + 2 * 129280 * 7168 + 7168
    assert sum(p.numel() for p in whole.parameters()) == counted == 671_026_404_352


def test_routing_is_what_the_documentation_says(model):
    torch.manual_seed(0)
    c = model.Config(hidden=6, experts=8, top_k=2, expert_width=5)
    layer = model.Experts(c).double()
    for p in layer.parameters():
        torch.nn.init.normal_(p)
    x = torch.randn(2, 8, 6, dtype=torch.float64)
    wanted = layer.shared(x)
    for t, token in enumerate(x.view(-1, 6)):
        chosen = [(2 * t + k) % 8 for k in range(2)]
        scores = layer.router(token).sigmoid()[chosen]
        for e, weight in zip(chosen, scores / scores.sum() * 2.5, strict=True):
            gate, up = (token @ layer.gate_up[e]).chunk(2)
            wanted.view(-1, 6)[t] += weight * ((F.silu(gate) * up) @ layer.down[e])
    torch.testing.assert_close(layer(x), wanted)


def test_small_one_computes_the_same_and_fits_exactly(tmp_path):
    words = ("--small", "--length", "32", "--steps", "3")
    host, chip = run(STEP, *words, folder=tmp_path), run(STEP, *words, chip="ascend-910c", folder=tmp_path)
    losses = re.findall(r"loss ([\d.]+)", host)
    assert losses == re.findall(r"loss ([\d.]+)", chip)
    assert float(losses[2]) < float(losses[0])
    assert "exact" in chip


@pytest.mark.slow
@pytest.mark.parametrize("base", ["nvidia-h100", "ascend-910c"])
def test_whole_one_takes_the_derived_bytes(tmp_path, base):
    chip = tmp_path / "unlimited.toml"
    chip.write_text(f'base = "{base}"\n[memory]\ncapacity = {{ confidence = "unknown", note = "left out" }}\n')
    text = run(STEP, chip=str(chip), shapes=True, folder=tmp_path)
    assert "parameters 671,026,404,352" in text
    assert re.search(r"expected [\d,]+ bytes, exact", text), text
