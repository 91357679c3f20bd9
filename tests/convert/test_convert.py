"""From every way of writing a checkpoint to every format: exact where exact exists, the error stated where not."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.convert.models import FACTOR, deepseek, deepseek_weights, llama, spread_over
from tests.convert.running import digests
from xinqiao.convert import Request, convert, planned, verify
from xinqiao.convert.layouts import LAYOUTS
from xinqiao.errors import InputError

O_PROJ = "model.layers.0.self_attn.o_proj.weight"
EXPERT = "model.layers.1.mlp.experts.0.up_proj.weight"
DENSE = "model.layers.0.mlp.up_proj.weight"


def converted(source, out, layout, **how):
    manifest = convert(source, Request(layout=layout, **how), out)
    assert manifest is not None
    assert not verify(out, source).findings
    return {row.name: row for row in manifest.weights}


EXACT = [  # source, target: every weight exact
    ("bf16", "bf16"),
    ("v3", "fp8-block"),
    ("v3.1", "fp8-block"),
    ("v3.1", "fp8-ue8m0"),  # one projection's scales are c·2^e
    ("v3.1", "bf16", "o_proj"),
    ("v3.1", "mxfp8", "o_proj"),
    ("v3.1", "fp8-ue8m0-v4", "o_proj"),
    ("v4", "mxfp8"),
    ("v4", "bf16"),
    ("v4", "fp8-ue8m0"),
    ("v4", "fp8-ue8m0-v4"),
]


@pytest.mark.parametrize(("variant", "layout", "but"), [(*row, "")[:3] for row in EXACT])
def test_exact(variant, layout, but, tmp_path):
    rows = converted(deepseek(tmp_path / "source", variant), tmp_path / "out", layout)
    inexact = {name for name, row in rows.items() if not row.exact}
    assert all(but and but in name for name in inexact), inexact
    assert bool(inexact) == bool(but)


LOSSY = [  # source, target, of which weight, least and most dB from that source
    ("bf16", "fp8-block", DENSE, 31.0, 32.5),
    ("bf16", "fp8-ue8m0", DENSE, 31.0, 32.5),
    ("bf16", "mxfp8", DENSE, 31.0, 32.5),
    ("bf16", "mxfp4", DENSE, 17.5, 19.5),
    ("bf16", "int8-channel", DENSE, 40.0, 45.0),
    ("bf16", "int8-block", DENSE, 38.0, 42.0),
    ("v3", "bf16", DENSE, 54.0, 57.0),
    ("v3", "fp8-ue8m0", DENSE, 31.0, 33.0),
    ("v3", "mxfp8", DENSE, 31.0, 33.0),
    ("v3.1", "mxfp8", O_PROJ, 31.0, 33.0),
    ("v3.1", "bf16", O_PROJ, 54.0, 57.0),
]


@pytest.mark.parametrize(("variant", "layout", "weight", "least", "most"), LOSSY)
def test_lossy(variant, layout, weight, least, most, tmp_path):
    row = converted(deepseek(tmp_path / "source", variant), tmp_path / "out", layout)[weight]
    assert not row.exact
    assert least < row.distance.sqnr_db < most
    assert row.distance.saturated == 0


def test_quantised_twice_costs_three_decibels(tmp_path):
    """From the original weights: FP8 with F32 scales made into powers of two loses what the first time lost, again."""
    source = deepseek(tmp_path / "source", "v3")
    converted(source, tmp_path / "once", "bf16")
    converted(source, tmp_path / "out", "fp8-ue8m0")
    converted(tmp_path / "out", tmp_path / "twice", "bf16")
    meant = deepseek_weights()[DENSE]
    once, twice = (sqnr(load_file(tmp_path / p / "model.safetensors")[DENSE].float(), meant) for p in ("once", "twice"))
    assert 31.0 < once < 32.5
    assert 2.5 < once - twice < 3.5


def sqnr(found, meant):
    return 10 * torch.log10(meant.square().sum() / (found - meant).square().sum().clamp_min(1e-12)).item()


def test_quantised_twice_says_what_would_be_better(tmp_path):
    row = converted(deepseek(tmp_path / "source", "v3"), tmp_path / "out", "mxfp8")[DENSE]
    assert "quantised a second time" in row.note
    assert "fp8-block would keep its codes" in row.note


def test_values_are_those_of_the_codes_times_the_scales(tmp_path):
    """Against plain PyTorch, not against this package."""
    source = deepseek(tmp_path / "source", "v3")
    converted(source, tmp_path / "out", "bf16")
    before, after = load_file(source / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    for name in (DENSE, EXPERT, O_PROJ):
        scales = before[name + "_scale_inv"]
        meant = before[name].float() * spread_over(scales, before[name].shape)
        assert torch.equal(after[name], meant.bfloat16())


def test_a_common_mantissa_is_kept(tmp_path):
    source = deepseek(tmp_path / "source", "v3.1")
    row = converted(source, tmp_path / "out", "fp8-ue8m0")[O_PROJ]
    assert (row.how, row.exact) == ("codes kept", True)
    scales = load_file(tmp_path / "out" / "model.safetensors")[O_PROJ + "_scale_inv"]
    assert torch.equal(torch.log2(scales / torch.tensor(FACTOR)) % 1, torch.zeros_like(scales))


ROUND_TRIPS = [("v3.1", "fp8-ue8m0-v4", "fp8-ue8m0"), ("v3.1", "mxfp8", "fp8-ue8m0"), ("v3", "fp8-block", "fp8-block")]


@pytest.mark.parametrize(("variant", "there", "back"), ROUND_TRIPS)
def test_round_trip(variant, there, back, tmp_path):
    """There and back, the codes and scales are the source's to the bit (of weights that were exact on the way)."""
    source = deepseek(tmp_path / "source", variant)
    rows = converted(source, tmp_path / "there", there)
    converted(tmp_path / "there", tmp_path / "back", back)
    before, after = load_file(source / "model.safetensors"), load_file(tmp_path / "back" / "model.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        stem = name.removesuffix("_scale_inv")
        if rows[stem].exact:
            assert torch.equal(tensor.view(torch.uint8), after[name].view(torch.uint8)), name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("variant", ["bf16", "v3", "v3.1", "v4"])
def test_every_pair_is_close_to_the_original_weights(variant, layout, tmp_path):
    """Decoded by this package's own bf16, each weight is the original's but for the two roundings on the way."""
    source = deepseek(tmp_path / "source", variant)
    converted(source, tmp_path / "out", layout)
    if layout != "bf16":
        converted(tmp_path / "out", tmp_path / "plain", "bf16")
    found = load_file(tmp_path / ("plain" if layout != "bf16" else "out") / "model.safetensors")
    least = 14 if layout == "mxfp4" or variant == "v4" else 26
    for name, meant in deepseek_weights().items():
        assert sqnr(found[name].float(), meant) > least, name


def test_threads_and_order_do_not_change_a_byte(tmp_path):
    source = llama(tmp_path / "source", layers=3)
    for threads in (1, 2, 7):
        convert(source, Request(layout="fp8-ue8m0"), tmp_path / f"{threads}", threads=threads)
    assert digests(tmp_path / "1") == digests(tmp_path / "2") == digests(tmp_path / "7")


def test_patterns(tmp_path):
    source = llama(tmp_path / "source")
    rows = converted(
        source,
        tmp_path / "out",
        "fp8-ue8m0",
        keep=("*.layers.0.*down_proj.weight",),
        special={"*v_proj.weight": "bf16"},
    )
    assert rows["model.layers.0.mlp.down_proj.weight"].format == "as it was"
    assert rows["model.layers.1.mlp.down_proj.weight"].format == "fp8-ue8m0"
    assert rows["model.layers.0.self_attn.v_proj.weight"].format == "bf16"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    left = config["quantization_config"]["modules_to_not_convert"]
    assert "model.layers.0.mlp.down_proj" in left
    assert "model.layers.0.self_attn.v_proj" in left


WRONG = [
    ({"layout": "fp8"}, "no format 'fp8'; did you mean"),
    ({"layout": "bf16", "keep": ("*.nothing.*",)}, "--keep *.nothing.*: no weight has such a name"),
    ({"layout": "bf16", "special": {"*": "int9"}}, "no format 'int9'"),
]


@pytest.mark.parametrize(("request_", "says"), WRONG)
def test_wrong_requests(request_, says, tmp_path):
    source = llama(tmp_path / "source")
    with pytest.raises(InputError) as caught, planned(source, Request(**request_), tmp_path / "out"):
        pass
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["source", "source/inside", "."])
def test_the_output_is_outside_the_source(place, tmp_path):
    source = llama(tmp_path / "source")
    before = digests(source)
    with pytest.raises(InputError, match="must lie outside"):
        convert(source, Request(layout="bf16"), tmp_path / place)
    assert digests(source) == before


def test_a_folder_with_other_files_is_refused(tmp_path):
    source = llama(tmp_path / "source")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        convert(source, Request(layout="bf16"), tmp_path / "out")
    assert digests(tmp_path / "out").keys() == {"mine.txt"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_no_target_has_are_refused_by_name(value, tmp_path):
    source = llama(tmp_path / "source")
    from tests.convert.test_verify import rewritten

    def spoil(t):
        t[DENSE][3, 5] = value

    rewritten(source, spoil)
    with pytest.raises(InputError, match=f"{DENSE}: 1 of its values"):
        convert(source, Request(layout="fp8-ue8m0"), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.safetensors"))
