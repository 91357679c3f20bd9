"""config.json for each target, so that the result loads."""

from collections.abc import Sequence
from typing import Any

from xinqiao.convert.layouts.table import Layout


def config(layout: Layout, config: dict[str, Any], quantised: Sequence[str], kept: Sequence[str]) -> dict[str, Any]:
    """The new config.json."""
    found = {key: value for key, value in config.items() if key not in ("quantization_config", "expert_dtype")}
    if layout.scale is None:
        found["torch_dtype"] = {"bf16": "bfloat16", "f16": "float16"}[layout.element]
        return found
    found["quantization_config"] = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "weight_block_size": list(layout.block),
        "activation_scheme": "dynamic",
        "modules_to_not_convert": list(kept),
    }
    if layout.scale == "pow2":
        found["quantization_config"]["scale_fmt"] = "ue8m0"
    return found


def extra_files(layout: Layout, config: dict[str, Any], rows: Sequence[Any]) -> dict[str, bytes]:
    return {}
