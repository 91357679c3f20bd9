"""What config.json, and the description beside it, say of each target, so that other programs load it.

fp8, blockwise_int8   one method for the whole model and a list of modules that it leaves alone
compressed-tensors    a group of modules for each format; several formats may be mixed
description           quant_model_description.json, for the loaders of one vendor's chips: a word for each tensor. Only
                      where they read the format in no other way, since SGLang takes a folder that has this file to be
                      for those chips alone.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from xinqiao.convert.layouts.table import LAYOUTS, Layout

DESCRIPTION = "quant_model_description.json"
Json = dict[str, Any]
_GROUP: Json = {"symmetric": True, "strategy": "group", "group_size": 32, "scale_dtype": "torch.uint8"}
_SCHEMES: dict[str, Json] = {  # layout → (format, weights, activations) as compressed-tensors 0.20 names them
    "mxfp8": {
        "format": "mxfp8-quantized",
        "weights": {"num_bits": 8, "type": "float", "dynamic": False, **_GROUP},
        "input_activations": {"num_bits": 8, "type": "float", "dynamic": True, **_GROUP},
    },
    "mxfp4": {
        "format": "mxfp4-pack-quantized",
        "weights": {"num_bits": 4, "type": "float", "dynamic": False, **_GROUP},
        "input_activations": None,
    },
    "int8-channel": {
        "format": "int-quantized",
        "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False},
        "input_activations": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True},
    },
}
_WORDS = {"mxfp8": "W8A8_MXFP8"}  # of the description, by layout
_QUANTIZATION = ("quantization_config", "compression_config")
_HEAD = "lm_head"


def config(layout: Layout, config: Json, formats: Mapping[str, Sequence[str]], kept: Sequence[str]) -> Json:
    """The new config.json.

    formats  quantised layout → the modules in it, `layout`'s own among them
    kept     modules of matrices that stay in full precision
    """
    found = _without_quantization(config)
    if isinstance(found.get("text_config"), dict):
        found["text_config"] = _without_quantization(found["text_config"])
    for part in (found, found.get("text_config")):
        if layout.scale is None and isinstance(part, dict) and (part is found or _dtype_key(part) in part):
            part[_dtype_key(part)] = {"bf16": "bfloat16", "f16": "float16"}[layout.element]
    if formats:
        main = layout if layout.name in formats else LAYOUTS[min(formats)]
        found["quantization_config"] = _quantization(main, formats, _with_head(config, formats, kept))
    if layout.element == "e4m3fn" and layout.block == (128, 128) and "expert_dtype" in config:
        found["expert_dtype"] = "fp8"  # vLLM takes experts to be FP4 where DeepSeek-V4's configuration does not say
    return found


def loaders(formats: Collection[str]) -> bool:
    """Whether some known program loads a mixture of these."""
    return len(set(formats)) < 2 or all(name in _SCHEMES for name in formats)


def _without_quantization(config: Json) -> Json:
    return {key: value for key, value in config.items() if key not in (*_QUANTIZATION, "expert_dtype")}


def _dtype_key(config: Json) -> str:
    return "dtype" if "dtype" in config else "torch_dtype"


def _with_head(config: Json, formats: Mapping[str, Sequence[str]], kept: Sequence[str]) -> list[str]:
    """The kept modules and a tied output layer: no tensor tells of it, and loaders would expect it quantised."""
    found = [*kept]
    modules = [module for group in (*formats.values(), kept) for module in group]
    if config.get("tie_word_embeddings") and not any(module.endswith(_HEAD) for module in modules):
        found.append(_HEAD)
    return found


def _quantization(layout: Layout, formats: Mapping[str, Sequence[str]], kept: Sequence[str]) -> Json:
    if layout.name in _SCHEMES:
        return _compressed_tensors(layout, formats, kept)
    if layout.element == "e4m3fn":
        found: Json = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": list(layout.block)}
        if layout.scale == "pow2":
            found["scale_fmt"] = "ue8m0"
        return found | {"activation_scheme": "dynamic", "modules_to_not_convert": list(kept)}
    method = "blockwise_int8" if layout.element == "int8" else layout.name
    return {
        "quant_method": method,
        "weight_block_size": list(layout.block),
        "activation_scheme": "dynamic",
        "ignored_layers": list(kept),
    }


def _compressed_tensors(layout: Layout, formats: Mapping[str, Sequence[str]], kept: Sequence[str]) -> Json:
    """The layout's own group takes every other linear layer; groups of other layouts name their modules."""
    mixed = len(formats) > 1
    groups = {}
    for number, (name, modules) in enumerate(sorted(formats.items(), key=lambda item: item[0] == layout.name)):
        targets = ["Linear"] if name == layout.name else list(modules)
        groups[f"group_{number}"] = {"targets": targets, **_SCHEMES.get(name, {})}
    return {
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
        "format": "mixed-precision" if mixed else _SCHEMES[layout.name]["format"],
        "config_groups": groups,
        "ignore": list(kept),
    }


def extra_files(formats: Mapping[str, str]) -> dict[str, bytes]:
    """The description for one vendor's loaders, where every format of the checkpoint has a word in it.

    formats: tensor of the result → its layout, '' for one in full precision
    """
    names = set(formats.values()) - {""}
    if not names or not all(name in _WORDS or LAYOUTS[name].scale is None for name in names):
        return {}
    words = [_WORDS[name] for name in names if name in _WORDS]
    if len(words) != 1:
        return {}
    head: Json = {"version": "1.0.0", "model_quant_type": words[0], "group_size": 32 if "MX" in words[0] else 0}
    found = head | {tensor: _WORDS.get(name, "FLOAT") for tensor, name in sorted(formats.items())}
    return {DESCRIPTION: msgspec.json.format(msgspec.json.encode(found)) + b"\n"}
