"""What a GGUF file calls the parts of a model, and what Hugging Face's config.json and weights call them.

Names: https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py
"""

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import msgspec

from xinqiao.convert.source.entry import Entry
from xinqiao.convert.source.gguf import Value
from xinqiao.errors import InputError

ARCHITECTURES = {  # of models of one plan: GGUF's name → (class, model_type)
    "llama": ("LlamaForCausalLM", "llama"),
    "qwen2": ("Qwen2ForCausalLM", "qwen2"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
    "qwen3moe": ("Qwen3MoeForCausalLM", "qwen3_moe"),
}
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
}
_EXPERTS = {"ffn_gate_exps": "gate_proj", "ffn_up_exps": "up_proj", "ffn_down_exps": "down_proj"}
_MIXED = {  # config.json of a mixture of experts → metadata after the architecture's name
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
}
_PLAIN = {  # config.json → metadata after the architecture's name
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "max_position_embeddings": "context_length",
    "head_dim": "attention.key_length",
}
_TOKENS = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}


def renamed(entry: Entry, metadata: Mapping[str, Value]) -> Iterator[Entry]:
    """The tensor under Hugging Face's name; a stack of experts as one tensor each. InputError for an unknown name."""
    stem, _, kind = entry.name.rpartition(".")
    if kind not in ("weight", "bias"):
        stem = ""  # of no known name
    if stem in _TOP:
        yield msgspec.structs.replace(entry, name=f"{_TOP[stem]}.{kind}")
        return
    name = metadata["general.architecture"]
    block = re.fullmatch(r"blk\.(\d{1,4})\.(\w+)", stem, re.ASCII)
    mixed = name == "qwen3moe"
    if block and block[2] in _BLOCK and (mixed or block[2] != "ffn_gate_inp"):
        new = f"model.layers.{block[1]}.{_BLOCK[block[2]]}.{kind}"
        yield msgspec.structs.replace(entry, name=new, permute=_permute(entry, block[2], metadata))
    elif block and block[2] in _EXPERTS and mixed and len(entry.shape) == 3:
        yield from _experts(entry, f"model.layers.{block[1]}.mlp.experts", f"{_EXPERTS[block[2]]}.{kind}")
    else:
        raise InputError(f"{entry.file}: {entry.name!r}: a {name} model has no such tensor that is known here")


def _experts(stack: Entry, before: str, after: str) -> Iterator[Entry]:
    count, *shape = stack.shape
    size = stack.nbytes // max(1, count)
    for i in range(min(count, stack.nbytes)):
        name, offset = f"{before}.{i}.{after}", stack.offset + i * size
        yield Entry(name, stack.dtype, tuple(shape), stack.file, offset, size)


def _permute(entry: Entry, part: str, metadata: Mapping[str, Value]) -> int:
    """Only llama's query and key rows are stored in another order."""
    if metadata["general.architecture"] != "llama" or part not in ("attn_q", "attn_k"):
        return 0
    heads = metadata.get("llama.attention.head_count")
    found = metadata.get("llama.attention.head_count_kv", heads) if part == "attn_k" else heads
    if not isinstance(found, int) or found < 1 or len(entry.shape) != 2 or entry.shape[0] % (2 * found):
        raise InputError(f"{entry.file}: {entry.name}: {entry.shape} is not {str(found)[:40]} heads of rows; not read")
    return found


def config(metadata: Mapping[str, Value], entries: Mapping[str, Entry]) -> dict[str, Any]:
    """config.json. entries: under Hugging Face's names."""
    name = metadata["general.architecture"]
    assert isinstance(name, str)
    architecture, model_type = ARCHITECTURES[name]
    found: dict[str, Any] = {"architectures": [architecture], "model_type": model_type, "hidden_act": "silu"}
    for key, source in (_PLAIN | (_MIXED if name == "qwen3moe" else {})).items():
        if f"{name}.{source}" in metadata:
            found[key] = _number(metadata, f"{name}.{source}")
    if "num_experts" in found:
        found |= {"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}
    heads = f"{name}.attention.head_count"
    found["num_key_value_heads"] = _number(metadata, f"{heads}_kv" if f"{heads}_kv" in metadata else heads)
    found["rms_norm_eps"] = _short(metadata.get(f"{name}.attention.layer_norm_rms_epsilon", 1e-6))
    found["rope_theta"] = _short(metadata.get(f"{name}.rope.freq_base", 10000.0))
    found["attention_bias"] = any(entry.endswith("q_proj.bias") for entry in entries)
    found["vocab_size"] = next((e.shape[0] for n, e in entries.items() if n == "model.embed_tokens.weight"), 0)
    found["tie_word_embeddings"] = "lm_head.weight" not in entries
    for key, source in _TOKENS.items():
        if f"tokenizer.ggml.{source}" in metadata:
            found[key] = _number(metadata, f"tokenizer.ggml.{source}")
    return found | {"torch_dtype": "bfloat16"}


def _number(metadata: Mapping[str, Value], key: str) -> int:
    value = metadata.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"the metadata {key} is {str(value)[:40]!r}, and config.json needs a whole number")
    return value


def _short(value: Value) -> float:
    """The decimal number that somebody wrote before it became fp32: 1e-05, not 9.999999747378752e-06."""
    return float(f"{value:.7g}") if isinstance(value, int | float) and isfinite(value) else 0.0
