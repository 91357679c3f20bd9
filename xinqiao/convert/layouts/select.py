"""Which weights are quantised: those of linear layers and experts."""

import re
from typing import Any

from xinqiao.convert.layouts.reading import Weight
from xinqiao.convert.layouts.table import Layout

# The modules that DeepSeek's releases and the recipes of compressed-tensors' users leave alone, and that loaders build
# without quantisation: a pattern of the weight's name → why.
_KEPT = {
    r"embed|(^|\.)(wte|wpe)\.": "an embedding",
    r"norm": "a norm",
    r"(^|\.)(lm_head|embed_out|shared_head\.head)\.|^(head|output)\.weight$": "the output layer",
    r"(^|\.)(router|gate|\w*expert_gate)\.(\w+\.)?weight$": "a router",
    r"(^|\.)(eh_proj|weights_proj|wgate)\.|\.compressor\.": "a layer that loaders have in full precision only",
    r"(^|\.)(visual|vision_\w+|vit|image_\w+|audio_\w+|multi_modal_projector|mm_projector|connector)\.": "not language",
    r"(^|\.|_)conv\w*\.weight$": "a convolution",
}
_KEPT_RULES = [(re.compile(pattern), why) for pattern, why in _KEPT.items()]
_EXPERTS = re.compile(r"(^|\.)experts\.(\w+\.)*weight$|_linear\.weight$")
ONE_TENSOR = re.compile(r"(^|\.)experts\.(gate_up|gate|up|down)_proj$")
_TRANSPOSED = (  # rows are inputs: their blocks would lie across
    *("gpt2", "gpt_bigcode", "openai-gpt", "imagegpt"),
    *("gpt_oss", "llama4", "llama4_text"),  # of these the experts
)


def which(weight: Weight, layout: Layout, config: dict[str, Any]) -> tuple[str, str]:
    """('convert' or 'keep', why). What is kept and is quantised in the source becomes bf16.

    An unscaled layout takes every float but vectors in F32: norms and routers' biases that were made in F32 stay in it,
    as in DeepSeek's releases.
    """
    if weight.scales is not None and not layout.scale:
        return "convert", "quantised in the source"
    if not weight.element or not weight.shape:
        return "keep", "no matrix of floats"
    if layout.scale is None:
        if len(weight.shape) == 1 and weight.codes.dtype == "F32":
            return "keep", "vectors in F32 stay in it"
        return "convert", "every float"
    return _quantised(weight, layout, config)


def _quantised(weight: Weight, layout: Layout, config: dict[str, Any]) -> tuple[str, str]:
    name = weight.name
    why = next((why for pattern, why in _KEPT_RULES if pattern.search(name)), "")
    if len(weight.shape) < 2:
        return "keep", "no matrix"
    if why:
        return "keep", why
    if layout.block[1] == 32 and weight.shape[-1] % 32:
        return "keep", "rows that are not whole groups of 32"
    if weight.scales is not None:
        return "convert", "quantised in the source"
    if "quantization_config" in config:
        return "keep", "in full precision in the source"
    if ONE_TENSOR.search(name):
        return "keep", "experts in one parameter, which loaders know in full precision only"
    if not name.endswith(".weight"):
        return "keep", "no weight of a linear layer"
    if len(weight.shape) > 2 and not _EXPERTS.search(name):
        return "keep", "neither a matrix nor experts"
    if config.get("model_type") in _TRANSPOSED:
        return "keep", "this model's matrices are transposed"
    return "convert", "weights of linear layers"
