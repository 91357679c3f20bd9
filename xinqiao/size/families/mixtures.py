"""Mixtures of experts with grouped-query attention, some layers of them linear."""

from msgspec.structs import replace

from xinqiao.size.families.dense import qwen2_attention
from xinqiao.size.families.parts import (
    FULL,
    Plan,
    after_dense,
    biased,
    dense,
    grouped,
    layer_count,
    mixed,
    same,
    stepped,
    windowed,
)
from xinqiao.size.keys import Keys
from xinqiao.size.model import Attention, Experts

LINEAR = "linear_attention"


def mixtral(keys: Keys) -> Plan:
    attentions = windowed(keys, grouped(keys), lambda _: True)
    experts = Experts(
        count=keys.count("num_local_experts"),
        top_k=keys.count("num_experts_per_tok"),
        inner=keys.count("intermediate_size"),
    )
    return Plan(mixed(keys, attentions, experts, [True] * len(attentions)))


def _qwen_experts(keys: Keys, *, shared: bool) -> Experts:
    return Experts(
        count=keys.count("num_experts", "num_local_experts"),
        top_k=keys.count("num_experts_per_tok"),
        inner=keys.count("moe_intermediate_size"),
        shared_inner=keys.count("shared_expert_intermediate_size") if shared else 0,
        shared_gate=shared,
    )


def qwen2_moe(keys: Keys) -> Plan:
    keys.must("use_sliding_window", False)
    attention = replace(grouped(keys), qkv_bias=keys.flag("qkv_bias", default=True))
    return Plan(mixed(keys, same(keys, attention), _qwen_experts(keys, shared=True), stepped(keys)))


def qwen3_moe(keys: Keys) -> Plan:
    attentions = qwen2_attention(keys, replace(biased(keys, grouped(keys)), qk_norm="head"))
    return Plan(mixed(keys, attentions, _qwen_experts(keys, shared=False), stepped(keys)))


def _partly_linear(keys: Keys) -> list[Attention]:
    """Gated softmax attention in each full_attention_interval-th layer, gated delta nets elsewhere."""
    full = replace(biased(keys, grouped(keys)), qk_norm="head", query_gate=True)
    linear = Attention(
        heads=keys.count("linear_num_value_heads"),
        kv_heads=keys.count("linear_num_key_heads"),
        head_dim=keys.count("linear_key_head_dim"),
        value_dim=keys.count("linear_value_head_dim"),
        conv=keys.count("linear_conv_kernel_dim"),
    )
    layers = layer_count(keys)
    kinds = keys.per_layer("layer_types", layers, (FULL, LINEAR))
    if not kinds:
        period = keys.count("full_attention_interval", default=4)
        kinds = [LINEAR if (i + 1) % period else FULL for i in range(layers)]
    return [full if kind == FULL else linear for kind in kinds]


def qwen3_next(keys: Keys) -> Plan:
    return Plan(mixed(keys, _partly_linear(keys), _qwen_experts(keys, shared=True), stepped(keys)))


def qwen3_5(keys: Keys) -> Plan:
    return Plan(dense(keys, _partly_linear(keys)), mtp_layers=keys.count("mtp_num_hidden_layers", default=0, least=0))


def qwen3_5_moe(keys: Keys) -> Plan:
    attentions, experts = _partly_linear(keys), _qwen_experts(keys, shared=True)
    mtp = keys.count("mtp_num_hidden_layers", default=0, least=0)
    return Plan(mixed(keys, attentions, experts, [True] * len(attentions)), mtp_layers=mtp)


def glm4_moe(keys: Keys) -> Plan:
    qk_norm = "head" if keys.flag("use_qk_norm", default=False) else ""
    attention = replace(biased(keys, grouped(keys), out=False), qk_norm=qk_norm)
    inner = keys.count("moe_intermediate_size")
    experts = Experts(
        count=keys.count("n_routed_experts"),
        top_k=keys.count("num_experts_per_tok"),
        inner=inner,
        shared_inner=inner * keys.count("n_shared_experts", default=0, least=0),
        router_bias=True,
    )
    mtp = keys.count("num_nextn_predict_layers", default=0, least=0)
    return Plan(mixed(keys, same(keys, attention), experts, after_dense(keys)), mtp_layers=mtp)


def gpt_oss(keys: Keys) -> Plan:
    attention = replace(biased(keys, grouped(keys), default=True), sinks=True)
    attentions = windowed(keys, attention, lambda i: i % 2 == 0, default=None)
    experts = Experts(
        count=keys.count("num_local_experts"),
        top_k=keys.count("num_experts_per_tok", "experts_per_token"),
        inner=keys.count("intermediate_size"),
        router_bias=True,
        bias=True,
    )
    return Plan(mixed(keys, attentions, experts, [True] * len(attentions)))


def ernie(keys: Keys) -> Plan:
    """Experts in each moe_layer_interval-th layer between two, which the configuration names."""
    keys.must("use_bias", False)
    layers = layer_count(keys)
    first, step = keys.count("moe_layer_start_index", least=0), keys.count("moe_layer_interval", default=1)
    last = keys.count("moe_layer_end_index", default=-1, least=-1)
    routed = [first <= i <= (last if last >= 0 else layers) and (i + 1) % step == 0 for i in range(layers)]
    inner = keys.count("moe_intermediate_size")
    experts = Experts(
        count=keys.count("moe_num_experts"),
        top_k=keys.count("moe_k"),
        inner=inner,
        shared_inner=inner * keys.count("moe_num_shared_experts", default=0, least=0),
        router_bias=True,
    )
    return Plan(mixed(keys, same(keys, grouped(keys)), experts, routed), tied=True)


def minimax_m2(keys: Keys) -> Plan:
    """Its configuration counts MTP modules that its checkpoint does not have."""
    keys.must("use_qk_norm", True)
    keys.must("qk_norm_type", "per_layer")
    keys.must("shared_intermediate_size", 0)
    attentions = same(keys, replace(grouped(keys), qk_norm="whole"))
    experts = Experts(
        count=keys.count("num_local_experts"),
        top_k=keys.count("num_experts_per_tok"),
        inner=keys.count("intermediate_size"),
        router_bias=True,
    )
    return Plan(mixed(keys, attentions, experts, [True] * len(attentions)))


def hunyuan_moe(keys: Keys) -> Plan:
    keys.must("use_qk_norm", True)
    keys.must("use_mixed_mlp_moe", True)
    attentions = same(keys, replace(biased(keys, grouped(keys)), qk_norm="head"))
    inner = keys.count("intermediate_size")
    experts = Experts(
        count=keys.count("num_experts"),
        top_k=keys.same("moe_topk"),
        inner=keys.same("moe_intermediate_size", default=inner),
        shared_inner=inner * keys.same("num_shared_expert", default=1),
    )
    return Plan(mixed(keys, attentions, experts, [True] * len(attentions)))


def pangu_pro_moe(keys: Keys) -> Plan:
    """One factor an expert scales what the router answers: as many numbers as a bias has."""
    attentions = same(keys, replace(grouped(keys), qkv_bias=True, out_bias=True))
    experts = Experts(
        count=keys.count("num_experts"),
        top_k=keys.count("num_experts_per_tok"),
        inner=keys.count("moe_intermediate_size"),
        shared_inner=keys.count("shared_expert_intermediate_size", default=0, least=0),
        router_bias=True,
    )
    return Plan(mixed(keys, attentions, experts, stepped(keys)))
