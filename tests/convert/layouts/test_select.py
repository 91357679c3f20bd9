"""Which weights are quantised, by the names that published models give them."""

from math import prod
from pathlib import Path

import pytest

from xinqiao.convert.layouts import LAYOUTS
from xinqiao.convert.layouts.reading import Weight
from xinqiao.convert.layouts.select import which
from xinqiao.convert.source import Entry

ELEMENTS = {"F32": "f32", "BF16": "bf16", "F16": "f16", "I64": ""}


def weight(name, shape=(256, 256), dtype="BF16", scaled=False):
    entry = Entry(name, "F8_E4M3" if scaled else dtype, shape, Path("nowhere"), 0, prod(shape))
    return Weight(name, shape, "e4m3fn" if scaled else ELEMENTS[dtype], entry, entry if scaled else None)


QUANTISED = [
    "model.layers.0.self_attn.q_proj.weight",
    "model.layers.0.self_attn.kv_a_proj_with_mqa.weight",  # DeepSeek-V3 quantises all of MLA
    "model.layers.0.self_attn.q_a_proj.weight",
    "model.layers.0.self_attn.kv_b_proj.weight",
    "model.layers.0.self_attn.indexer.wq_b.weight",
    "model.layers.0.mlp.gate_proj.weight",
    "model.layers.0.mlp.gate_up_proj.weight",
    "model.layers.3.mlp.experts.17.down_proj.weight",
    "model.layers.3.mlp.shared_experts.up_proj.weight",
    "layers.0.attn.wo_a.weight",
    "layers.0.ffn.experts.3.w1.weight",
    "mtp.0.e_proj.weight",
    "model.layers.0.conv.in_proj.weight",
]
KEPT = {  # → why
    "model.embed_tokens.weight": "an embedding",
    "transformer.wte.weight": "an embedding",
    "embed.weight": "an embedding",
    "lm_head.weight": "the output layer",
    "head.weight": "the output layer",
    "output.weight": "the output layer",
    "model.layers.61.shared_head.head.weight": "the output layer",
    "model.layers.3.mlp.gate.weight": "a router",
    "model.layers.3.block_sparse_moe.gate.weight": "a router",
    "model.layers.3.mlp.shared_expert_gate.weight": "a router",
    "model.layers.3.feed_forward.router.weight": "a router",
    "model.layers.61.eh_proj.weight": "a layer that loaders have in full precision only",
    "model.layers.0.self_attn.indexer.weights_proj.weight": "a layer that loaders have in full precision only",
    "layers.0.attn.compressor.wkv.weight": "a layer that loaders have in full precision only",
    "model.visual.blocks.0.attn.qkv.weight": "not language",
    "vision_tower.encoder.layers.0.fc1.weight": "not language",
    "multi_modal_projector.linear_1.weight": "not language",
    "model.layers.0.conv1d.weight": "a convolution",
    "model.layers.0.self_attn.sinks": "no weight of a linear layer",
    "model.layers.0.mlp.experts.gate_up_proj": "experts in one parameter, which loaders know in full precision only",
}


@pytest.mark.parametrize("layout", [name for name, row in LAYOUTS.items() if row.scale])
def test_linear_layers_are_quantised(layout):
    for name in QUANTISED:
        assert which(weight(name), LAYOUTS[layout], {}) == ("convert", "weights of linear layers"), name
    for name, why in KEPT.items():
        assert which(weight(name), LAYOUTS[layout], {}) == ("keep", why), name


SHAPES = [  # shape, dtype, layout → what, of a name that says nothing
    ((256,), "BF16", "fp8-block", "keep"),
    ((4, 256, 256), "BF16", "fp8-block", "keep"),
    ((256, 256), "F32", "fp8-block", "convert"),
    ((256, 256), "I64", "fp8-block", "keep"),
    ((256, 256), "I64", "bf16", "keep"),
    ((256, 256), "F32", "bf16", "convert"),
    ((256,), "F32", "bf16", "keep"),  # as DeepSeek's e_score_correction_bias, whatever its name
    ((256,), "F32", "fp16", "keep"),
    ((256,), "BF16", "fp16", "convert"),
    ((), "BF16", "fp16", "keep"),
]


@pytest.mark.parametrize(("shape", "dtype", "layout", "what"), SHAPES)
def test_shapes_and_dtypes(shape, dtype, layout, what):
    assert which(weight("m.weight", shape, dtype), LAYOUTS[layout], {})[0] == what


def test_stacked_experts_are_quantised_and_other_stacks_are_not():
    for name in ("model.layers.0.mlp.experts.gate_up_proj.weight", "block_sparse_moe.input_linear.weight"):
        assert which(weight(name, (8, 256, 256)), LAYOUTS["mxfp8"], {})[0] == "convert"


def test_what_the_source_quantised_is_dequantised_for_an_unscaled_layout():
    for name in ("lm_head.weight", "model.layers.0.mlp.experts.gate_up_proj"):
        assert which(weight(name, scaled=True), LAYOUTS["bf16"], {}) == ("convert", "quantised in the source")


def test_transposed_matrices_are_kept():
    found = which(weight("transformer.h.0.attn.c_attn.weight"), LAYOUTS["mxfp8"], {"model_type": "gpt2"})
    assert found == ("keep", "this model's matrices are transposed")
