"""What a GGUF file calls the parts of a model, and what Hugging Face's config.json and weights call them."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from xinqiao.convert.source.entry import Entry
from xinqiao.convert.source.gguf import Value

ARCHITECTURES = {  # of models of one plan: GGUF's name → (class, model_type)
    "llama": ("LlamaForCausalLM", "llama"),
    "qwen2": ("Qwen2ForCausalLM", "qwen2"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
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


def renamed(entry: Entry, metadata: Mapping[str, Value]) -> Entry:
    """The tensor under Hugging Face's name; a name that is not known stays."""
    stem, _, kind = entry.name.rpartition(".")
    block = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    if stem in _TOP:
        return msgspec.structs.replace(entry, name=f"{_TOP[stem]}.{kind}")
    if not block or block[2] not in _BLOCK:
        return entry
    return msgspec.structs.replace(
        entry, name=f"model.layers.{block[1]}.{_BLOCK[block[2]]}.{kind}", permute=_permute(block[2], metadata)
    )


def _permute(part: str, metadata: Mapping[str, Value]) -> int:
    """Only llama's query and key rows are stored in another order."""
    if metadata.get("general.architecture") != "llama" or part not in ("attn_q", "attn_k"):
        return 0
    heads = metadata.get("llama.attention.head_count", 0)
    found = metadata.get("llama.attention.head_count_kv", heads) if part == "attn_k" else heads
    return found if isinstance(found, int) else 0


def config(metadata: Mapping[str, Value], entries: Mapping[str, Entry]) -> dict[str, Any]:
    """config.json. entries: under Hugging Face's names."""
    name = metadata["general.architecture"]
    assert isinstance(name, str)
    architecture, model_type = ARCHITECTURES[name]
    found: dict[str, Any] = {"architectures": [architecture], "model_type": model_type, "hidden_act": "silu"}
    for key, source in _PLAIN.items():
        if f"{name}.{source}" in metadata:
            found[key] = metadata[f"{name}.{source}"]
    found["num_key_value_heads"] = metadata.get(f"{name}.attention.head_count_kv", found.get("num_attention_heads"))
    found["rms_norm_eps"] = _short(metadata.get(f"{name}.attention.layer_norm_rms_epsilon", 1e-6))
    found["rope_theta"] = _short(metadata.get(f"{name}.rope.freq_base", 10000.0))
    found["attention_bias"] = any(entry.endswith("q_proj.bias") for entry in entries)
    found["vocab_size"] = next((e.shape[0] for n, e in entries.items() if n == "model.embed_tokens.weight"), 0)
    found["tie_word_embeddings"] = "lm_head.weight" not in entries
    for key, source in _TOKENS.items():
        if f"tokenizer.ggml.{source}" in metadata:
            found[key] = metadata[f"tokenizer.ggml.{source}"]
    return found | {"torch_dtype": "bfloat16"}


def _short(value: Value) -> float:
    """The decimal number that somebody wrote before it became fp32: 1e-05, not 9.999999747378752e-06."""
    return float(f"{value:.7g}") if isinstance(value, int | float) else 0.0
