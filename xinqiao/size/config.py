"""A model from its config.json, in the form that Hugging Face's checkpoints have."""

import re
from pathlib import Path

from xinqiao.errors import InputError, nearest
from xinqiao.size.families import FAMILIES
from xinqiao.size.families.parts import alike
from xinqiao.size.keys import Json, Keys, load
from xinqiao.size.model import Model

CONFIG = "config.json"
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
BESIDE = "hf_quant_config.json"  # where ModelOpt says what config.json leaves out
METHODS = {"fp8": "fp8", "mxfp4": "mxfp4", "fbgemm_fp8": "fp8"}  # quant_method → format
ALGORITHMS = {"FP8": "fp8", "NVFP4": "nvfp4", "W4A16_AWQ": "int4"}  # ModelOpt's quant_algo → format
ATTENTION = re.compile(r"attn(\.?\*|\.o_proj)?$")  # a module that is left out: all of attention, or its output
TRACED = "`xinqiao size SCRIPT.py --chip NAME` traces any PyTorch program"


def read(path: Path) -> Model:
    """The model that a config.json, or a folder with one, describes.

    InputError '<file>: <key>: <what is wrong>'; an architecture that is not known is refused, not taken for another.
    """
    file = path / CONFIG if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise InputError(f"{path}: has no {CONFIG}; name a checkpoint's folder or its {CONFIG}")
    name = (path if path.is_dir() else path.parent).resolve().name if file.name == CONFIG else file.stem
    keys, beside = load(file), file.with_name(BESIDE)
    if file.name == CONFIG and beside.exists() and not keys.has("quantization_config"):
        keys.found["quantization_config"] = load(beside).table("quantization")
    return from_keys(keys, name=name, source=str(path))


def from_keys(keys: Keys, *, name: str, source: str) -> Model:
    """The model of one configuration; of one that also has vision or sound, the part that reads and writes text."""
    whole, note = keys, ""
    if "text_config" in keys.found and keys.word("model_type") not in FAMILIES:
        keys = Keys(keys.table("text_config"), f"{keys.where}: text_config")
        note = f"only the language model of {whole.word('model_type') or 'it'}: no vision or sound encoder"
    kind = _architecture(keys)
    plan = FAMILIES[kind](keys)
    tied_by = keys if keys.has("tie_word_embeddings") else whole
    stored, rest = _stored(keys if keys.has("quantization_config") else whole, keys)
    return Model(
        name=name,
        family=kind,
        hidden=keys.count("hidden_size", "n_embd"),
        vocab=keys.count("vocab_size"),
        layers=alike(plan.layers),
        tied=tied_by.flag("tie_word_embeddings", default=plan.tied),
        context=keys.count("max_position_embeddings", "n_positions", default=2048 if kind == "falcon" else None),
        mtp_layers=plan.mtp_layers,
        streams=plan.streams,
        positions=plan.positions,
        norm_bias=plan.norm_bias,
        stored=stored,
        stored_rest=rest,
        source=source,
        note=note,
    )


def _architecture(keys: Keys) -> str:
    kind = keys.word("model_type")
    if not kind:
        raise keys.wrong("model_type", f"missing: it says which architecture this is; {TRACED}")
    if kind not in FAMILIES:
        near = nearest(kind, FAMILIES)
        raise keys.wrong("model_type", f"the architecture '{kind[:40]}' is not known{near}; {TRACED}")
    return kind


def _stored(keys: Keys, text: Keys) -> tuple[str, str]:
    """Number format of most weights, and of all but routed experts where that differs; '' is unknown."""
    settings = keys.table("quantization_config")
    plain = DTYPES.get(text.word("dtype", "torch_dtype") or keys.word("dtype", "torch_dtype"), "")
    if not settings:
        return plain, ""
    found = _quantised(settings)
    if found == "fp8" and "fp4" in (text.found.get("expert_dtype"), settings.get("expert_dtype")):
        return "mxfp4", found
    return found, _rest(settings, plain or "bf16") if found else ""


def _quantised(settings: Json) -> str:
    if "quant_algo" in settings:
        return ALGORITHMS.get(str(settings["quant_algo"]), "")
    method = str(settings.get("quant_method", ""))
    if method in METHODS:
        return METHODS[method]
    if method == "compressed-tensors":
        return _compressed_tensors(settings)
    bits = settings.get("bits", settings.get("w_bit"))
    return f"int{bits}" if method in ("gptq", "awq") and bits in (4, 8) else ""


def _compressed_tensors(settings: Json) -> str:
    groups = settings.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    if not isinstance(weights, dict) or weights.get("num_bits") not in (4, 8):
        return ""
    kind = "fp" if weights.get("type") == "float" else "int"
    return f"{kind}{weights['num_bits']}"


def _rest(settings: Json, plain: str) -> str:
    """The plain format where attention is not quantised: then routed experts are, and nothing else."""
    lists = (settings.get(key) for key in ("modules_to_not_convert", "ignore", "exclude_modules"))
    left_out = [str(module) for modules in lists if isinstance(modules, list) for module in modules]
    return plain if any(ATTENTION.search(module) for module in left_out) else ""
