"""Architectures without experts."""

from msgspec.structs import replace

from xinqiao.size.families.parts import Plan, biased, dense, grouped, layer_count, same, windowed
from xinqiao.size.keys import Keys
from xinqiao.size.model import Attention, Layer


def llama(keys: Keys) -> Plan:
    return Plan(dense(keys, same(keys, biased(keys, grouped(keys)))))


def mistral(keys: Keys) -> Plan:
    return Plan(dense(keys, windowed(keys, grouped(keys), lambda _: True)))


def qwen2_attention(keys: Keys, attention: Attention) -> list[Attention]:
    """Windows only where use_sliding_window, and then from layer max_window_layers on."""
    if not keys.flag("use_sliding_window", default=False):
        return same(keys, attention)
    first = keys.count("max_window_layers", least=0)
    return windowed(keys, attention, lambda i: i >= first, default=None)


def qwen2(keys: Keys) -> Plan:
    return Plan(dense(keys, qwen2_attention(keys, replace(grouped(keys), qkv_bias=True))))


def qwen3(keys: Keys) -> Plan:
    return Plan(dense(keys, qwen2_attention(keys, replace(biased(keys, grouped(keys)), qk_norm="head"))))


def glm4(keys: Keys) -> Plan:
    return Plan(dense(keys, same(keys, biased(keys, grouped(keys), out=False)), norms=4))


def gemma2(keys: Keys) -> Plan:
    attention = biased(keys, grouped(keys))
    return Plan(dense(keys, windowed(keys, attention, lambda i: i % 2 == 0, default=None), norms=4), tied=True)


def gemma3(keys: Keys) -> Plan:
    """Full attention in each sliding_window_pattern-th layer, the sixth where it is not said."""
    keys.must("use_bidirectional_attention", False)
    attention = replace(biased(keys, grouped(keys)), qk_norm="head")
    period = keys.count("sliding_window_pattern", default=6)
    return Plan(
        dense(keys, windowed(keys, attention, lambda i: (i + 1) % period > 0, default=None), norms=4), tied=True
    )


def olmo2(keys: Keys) -> Plan:
    return Plan(dense(keys, same(keys, replace(biased(keys, grouped(keys)), qk_norm="whole"))))


def ernie(keys: Keys) -> Plan:
    keys.must("use_bias", False)
    return Plan(dense(keys, same(keys, grouped(keys))), tied=True)


def hunyuan(keys: Keys) -> Plan:
    keys.must("use_qk_norm", True)
    return Plan(dense(keys, same(keys, replace(biased(keys, grouped(keys)), qk_norm="head"))))


def _multi_head(keys: Keys) -> Attention:
    """As many key heads as query heads, and biases."""
    attention = grouped(keys)
    return replace(attention, kv_heads=attention.heads, qkv_bias=True, out_bias=True)


def gpt2(keys: Keys) -> Plan:
    keys.must("add_cross_attention", False)
    attention = _multi_head(keys)
    inner = keys.count("n_inner", default=4 * keys.count("n_embd"))
    layer = Layer(count=layer_count(keys), attention=attention, inner=inner, gated=False, bias=True)
    return Plan([layer], tied=True, positions=keys.count("n_positions"), norm_bias=True)


def opt(keys: Keys) -> Plan:
    keys.must("word_embed_proj_dim", keys.count("hidden_size"))
    keys.must("do_layer_norm_before", True)
    keys.must("enable_bias", True)
    keys.must("layer_norm_elementwise_affine", True)
    attention = _multi_head(keys)
    layer = Layer(count=layer_count(keys), attention=attention, inner=keys.count("ffn_dim"), gated=False, bias=True)
    # The first two rows of its table stand for padding.
    return Plan([layer], tied=True, positions=keys.count("max_position_embeddings") + 2, norm_bias=True)


def falcon(keys: Keys) -> Plan:
    keys.must("bias", False)
    attention = grouped(keys)
    new, parallel = keys.flag("new_decoder_architecture", default=False), keys.flag("parallel_attn", default=True)
    one_key_head = keys.flag("multi_query", default=True)
    kv_heads = keys.count("num_kv_heads") if new else 1 if one_key_head else attention.heads
    attention = replace(attention, kv_heads=kv_heads)
    norms = keys.count("num_ln_in_parallel_attn", default=2, most=2) if new else 1 if parallel else 2
    inner = keys.count("ffn_hidden_size", default=4 * keys.count("hidden_size"))
    layer = Layer(count=layer_count(keys), attention=attention, inner=inner, gated=False, norms=norms)
    return Plan([layer], tied=True, norm_bias=True)


def pangu(keys: Keys) -> Plan:
    """`bias`, or `attention_bias` in later configurations, is of attention alone."""
    bias = keys.flag(keys.first("bias", "attention_bias"), default=False)
    return Plan(dense(keys, same(keys, replace(grouped(keys), qkv_bias=bias, out_bias=bias))))
