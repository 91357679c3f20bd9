"""What is written beside the shards, and what a user is told of programs that would read them wrongly."""

import json

import pytest

from xinqiao.convert.layouts import LAYOUTS, concerns, config, extra_files

MODULES = ["model.layers.0.mlp.up_proj"]
KEPT = ["lm_head", "model.layers.3.mlp.gate"]


def quantization(layout, source=None, kept=KEPT, formats=None):
    return config(LAYOUTS[layout], source or {}, formats or {layout: MODULES}, kept)["quantization_config"]


FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
METHODS = [
    ("fp8-block", FP8 | {"modules_to_not_convert": KEPT}),
    ("fp8-ue8m0", FP8 | {"scale_fmt": "ue8m0", "modules_to_not_convert": KEPT}),
    ("fp8-ue8m0-v4", FP8 | {"scale_fmt": "ue8m0", "modules_to_not_convert": KEPT}),
    (
        "int8-block",
        {
            "quant_method": "blockwise_int8",
            "weight_block_size": [128, 128],
            "activation_scheme": "dynamic",
            "ignored_layers": KEPT,
        },
    ),
]


@pytest.mark.parametrize(("layout", "meant"), METHODS)
def test_methods(layout, meant):
    assert quantization(layout) == meant


SCHEMES = [  # format, strategy and bits of the weights, of the activations
    ("int8-channel", "int-quantized", ("channel", 8), ("token", 8)),
    ("mxfp8", "mxfp8-quantized", ("group", 8), ("group", 8)),
    ("mxfp4", "mxfp4-pack-quantized", ("group", 4), None),
]


@pytest.mark.parametrize(("layout", "form", "weights", "activations"), SCHEMES)
def test_compressed_tensors(layout, form, weights, activations):
    found = quantization(layout)
    (group,) = found["config_groups"].values()
    assert (found["quant_method"], found["format"], found["ignore"]) == ("compressed-tensors", form, KEPT)
    assert group["targets"] == ["Linear"]
    assert (group["weights"]["strategy"], group["weights"]["num_bits"]) == weights
    inputs = group["input_activations"]
    assert (inputs and (inputs["strategy"], inputs["num_bits"])) == activations


def test_formats_that_compressed_tensors_has_may_be_mixed():
    found = quantization("mxfp8", formats={"mxfp8": ["a", "b"], "int8-channel": ["c"]})
    assert found["format"] == "mixed-precision"
    assert [(g["format"], g["targets"]) for g in found["config_groups"].values()] == [
        ("int-quantized", ["c"]),
        ("mxfp8-quantized", ["Linear"]),
    ]


def test_full_precision_with_a_few_quantised_layers_is_described_as_those():
    assert quantization("bf16", formats={"fp8-block": MODULES})["quant_method"] == "fp8"


@pytest.mark.parametrize("layout", ["fp8-block", "mxfp8", "int8-block"])
def test_a_tied_output_layer_is_said_to_be_left_alone(layout):
    """No tensor tells of it; transformers and compressed-tensors would make a quantised layer of it."""
    found = quantization(layout, {"tie_word_embeddings": True}, kept=[])
    assert "lm_head" in next(
        found[key] for key in ("modules_to_not_convert", "ignore", "ignored_layers") if key in found
    )


OLD = {"model_type": "x", "torch_dtype": "float32", "quantization_config": {"quant_method": "awq"}}
REWRITTEN = [
    ("bf16", OLD, {"model_type": "x", "torch_dtype": "bfloat16"}),
    ("fp16", {"dtype": "bfloat16"}, {"dtype": "float16"}),
    (
        "bf16",
        {"dtype": "float32", "text_config": {"dtype": "float32", "quantization_config": {}}},
        {"dtype": "bfloat16", "text_config": {"dtype": "bfloat16"}},
    ),
    ("bf16", {"dtype": "bfloat16", "expert_dtype": "fp4"}, {"dtype": "bfloat16"}),
]


@pytest.mark.parametrize(("layout", "before", "after"), REWRITTEN)
def test_unscaled_layouts_leave_no_trace_of_quantisation(layout, before, after):
    copy = json.loads(json.dumps(before))
    assert config(LAYOUTS[layout], before, {}, []) == after
    assert before == copy


def test_experts_of_a_new_dtype_are_said_to_be():
    assert config(LAYOUTS["fp8-ue8m0-v4"], {"expert_dtype": "fp4"}, {"fp8-ue8m0-v4": []}, [])["expert_dtype"] == "fp8"


TENSORS = {"m.weight": "mxfp8", "m.weight_scale": "mxfp8", "norm.weight": "", "v.weight": "bf16"}


def test_the_description_has_a_word_for_each_tensor():
    (found,) = (json.loads(data) for data in extra_files(TENSORS).values())
    assert (found["model_quant_type"], found["group_size"]) == ("W8A8_MXFP8", 32)
    assert {name: found[name] for name in TENSORS} == {
        "m.weight": "W8A8_MXFP8",
        "m.weight_scale": "W8A8_MXFP8",
        "norm.weight": "FLOAT",
        "v.weight": "FLOAT",
    }


@pytest.mark.parametrize("layout", ["int8-channel", "fp8-block", "mxfp4", "bf16"])
def test_no_description_where_other_ways_lead_to_those_loaders(layout):
    assert not extra_files({"m.weight": layout})


UP = "model.layers.0.mlp.up_proj.weight"
EXPERT = "model.layers.1.mlp.experts.0.up_proj.weight"
STACK = "model.layers.1.mlp.experts.gate_up_proj"
CONCERNS = [  # (weight, shape, layout), words of the one concern; '': none
    ([(UP, (256, 512), "fp8-block")], ""),
    ([(UP, (64, 512), "fp8-block")], ""),
    ([(UP, (192, 512), "fp8-block")], f"the sizes of 1 weights, such as {UP}, are no multiples of 128"),
    ([(UP, (192, 512), "mxfp8")], ""),
    ([(UP, (192, 512), "as it was"), (UP, (192,), "bf16")], ""),
    (
        [(UP, (256, 512), "fp8-block"), (UP, (256, 512), "mxfp8")],
        "no known program but this one loads fp8-block and mxfp8",
    ),
    ([(UP, (256, 512), "int8-channel"), (UP, (256, 512), "mxfp8")], ""),
    ([(EXPERT, (256, 512), "int8-channel")], "transformers does not read experts in int8-channel"),
    ([(EXPERT, (256, 512), "mxfp4")], ""),
    ([(UP, (256, 512), "mxfp4"), (STACK, (4, 256, 512), "as it was")], f"the experts in 1 parameters, such as {STACK}"),
    ([(UP, (256, 512), "bf16"), (STACK, (4, 256, 512), "bf16")], ""),
    ([(UP, (256, 512), "int8-block")], "transformers does not know int8-block"),
]


@pytest.mark.parametrize(("rows", "says"), CONCERNS)
def test_concerns(rows, says):
    found = concerns(rows)
    assert len(found) == bool(says)
    assert says in "".join(found)
