"""Which weights are quantised: those of linear layers and experts, as the formats' users do."""

import re
from collections.abc import Mapping
from typing import Any

from xinqiao.convert.layouts.reading import Weight
from xinqiao.convert.layouts.table import Layout

_KEPT = (  # part of a name, in words; the first that fits says why
    (r"(^|\.|_)(embed|embd|embedding|embeddings|embed_tokens|wte|wpe)(\.|_|$)", "embeddings"),
    (r"norm", "norms"),
    (r"(^|\.)(lm_head|output|head|embed_out|score|classifier)\.weight$", "the output head"),
    (r"(^|\.)(gate|router|shared_expert_gate)\.(weight|wg\.weight)$|router", "routers"),
    (r"(^|\.)(eh_proj|weights_proj)\.", "small projections that DeepSeek keeps"),
    (r"(^|\.)(visual|vision_tower|vision_model|audio_tower|mm_projector)(\.|$)", "vision and audio towers"),
    (r"conv", "convolutions"),
)
_TRANSPOSED = ("gpt_oss", "llama4", "llama4_text")  # stacked experts lie [expert, in, out]


def which(weight: Weight, layout: Layout, config: Mapping[str, Any]) -> tuple[str, str]:
    """('convert' or 'keep', why). A quantised weight that is kept becomes bf16."""
    if layout.scale is None:
        return _unscaled(weight)
    if len(weight.shape) < 2 or not weight.element:
        return "keep", "no matrices"
    if not weight.quantised and "quantization_config" in config:
        return "keep", "in full precision in the source"
    for pattern, words in _KEPT:
        if re.search(pattern, weight.name):
            return "keep", f"{words} stay in full precision"
    stacked = len(weight.shape) == 3 and "experts" in weight.name
    if len(weight.shape) > 2 and not stacked:
        return "keep", "no matrices"
    if stacked and config.get("model_type") in _TRANSPOSED:
        return "keep", "stacked experts that lie transposed"
    if not stacked and not weight.name.endswith(".weight"):
        return "keep", "no weights of linear layers"
    if layout.block[1] == 32 and weight.shape[-1] % 32:
        return "keep", "rows that are not whole groups of 32"
    return "convert", "weights of linear layers and experts"


def _unscaled(weight: Weight) -> tuple[str, str]:
    """To a plain float: matrices, whatever they are now, and what is a 16-bit float already. fp32 vectors stay."""
    if weight.quantised or (len(weight.shape) >= 2 and weight.element):
        return "convert", "matrices"
    if weight.element in ("f16", "bf16"):
        return "convert", "16-bit vectors"
    return "keep", "fp32 vectors and whole numbers"
