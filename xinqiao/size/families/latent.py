"""DeepSeek and its kin: latent attention (MLA), chosen tokens (DSA), compressed caches (V4), shared experts."""

from collections.abc import Sequence

from msgspec.structs import replace

from xinqiao.size.families.parts import Plan, after_dense, grouped, layer_count, mixed, same
from xinqiao.size.keys import Keys
from xinqiao.size.model import Attention, Experts, Layer

WINDOW, SPARSE, HEAVY = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
RATIOS = {0: WINDOW, 4: SPARSE, 128: HEAVY}  # of V4's checkpoints


def _latent(keys: Keys) -> Attention:
    keys.must("attention_bias", False)
    rope = keys.count("qk_rope_head_dim", "attention_qk_rope_dim")
    return Attention(
        heads=keys.count("num_attention_heads"),
        kv_heads=1,
        head_dim=keys.count("qk_nope_head_dim", "attention_qk_dim") + rope,
        value_dim=keys.count("v_head_dim", "attention_v_dim"),
        q_rank=keys.count("q_lora_rank", "attention_q_lora_dim", default=0),
        kv_rank=keys.count("kv_lora_rank", "attention_kv_lora_dim"),
        rope_dim=rope,
    )


def _experts(keys: Keys, *, router_bias: bool) -> Experts:
    inner = keys.count("moe_intermediate_size")
    return Experts(
        count=keys.count("n_routed_experts", "num_routed_experts"),
        top_k=keys.count("num_experts_per_tok"),
        inner=inner,
        groups=keys.count("n_group", default=1),
        top_groups=keys.count("topk_group", default=1),
        shared_inner=inner * keys.count("n_shared_experts", "num_shared_experts", default=0, least=0),
        router_bias=router_bias,
    )


def _plan(keys: Keys, attentions: Sequence[Attention], *, router_bias: bool = True) -> Plan:
    layers = mixed(keys, attentions, _experts(keys, router_bias=router_bias), after_dense(keys))
    return Plan(layers, mtp_layers=keys.count("num_nextn_predict_layers", default=0, least=0))


def deepseek_v2(keys: Keys) -> Plan:
    return _plan(keys, same(keys, _latent(keys)), router_bias=False)


def deepseek_v3(keys: Keys) -> Plan:
    return _plan(keys, same(keys, _latent(keys)))


def _chosen(keys: Keys) -> Attention:
    """Latent attention over the tokens that an indexer chooses."""
    return replace(
        _latent(keys),
        index_heads=keys.count("index_n_heads"),
        index_dim=keys.count("index_head_dim"),
        index_top_k=keys.count("index_topk"),
    )


def deepseek_v32(keys: Keys) -> Plan:
    return _plan(keys, same(keys, _chosen(keys)))


def glm_moe_dsa(keys: Keys) -> Plan:
    """Some layers take the tokens that an earlier layer's indexer chose."""
    keys.must("mlp_bias", False)
    attention, layers = _chosen(keys), layer_count(keys)
    kinds = keys.per_layer("indexer_types", layers, ("full", "shared"))
    if not kinds:
        keys.must("index_topk_pattern", None)
        keys.must("index_topk_freq", 1)
        kinds = ["full"] * layers
    return _plan(keys, [replace(attention, index_shared=kind == "shared") for kind in kinds])


def _compressions(keys: Keys) -> list[tuple[str, int]]:
    """Of each layer: the kind of attention, and how many tokens it compresses into one entry."""
    layers = layer_count(keys)
    ratios = keys.per_layer("compress_ratios", layers, tuple(RATIOS))
    if ratios:
        return [(RATIOS[ratio], ratio) for ratio in ratios]
    kinds = keys.per_layer("layer_types", layers, tuple(RATIOS.values()))
    if not kinds:
        raise keys.wrong("layer_types", "missing, and so is compress_ratios")
    rates = Keys(keys.table("compress_rates"), f"{keys.where}: compress_rates")
    counts = {WINDOW: 0, SPARSE: rates.count(SPARSE, default=4), HEAVY: rates.count(HEAVY, default=128)}
    return [(kind, counts[kind]) for kind in kinds]


def _compressed(keys: Keys) -> list[Attention]:
    """V4: one vector a token is key and value; a window, and compressed entries of what lies before it."""
    keys.must("attention_bias", False)
    keys.must("num_key_value_heads", 1)
    window = replace(
        grouped(keys),
        q_rank=keys.count("q_lora_rank"),
        window=keys.count("sliding_window"),
        shared_kv=True,
        out_groups=keys.count("o_groups"),
        out_rank=keys.count("o_lora_rank"),
        sinks=True,
    )
    if window.heads % window.out_groups:
        raise keys.wrong("o_groups", f"{window.out_groups} groups do not divide {window.heads} heads")
    index = (keys.count("index_n_heads"), keys.count("index_head_dim"), keys.count("index_topk"))
    found = []
    for kind, ratio in _compressions(keys):
        heads, dim, top_k = index if kind == SPARSE else (0, 0, 0)
        found.append(replace(window, compress=ratio, index_heads=heads, index_dim=dim, index_top_k=top_k))
    return found


def deepseek_v4(keys: Keys) -> Plan:
    """Experts in every layer; the first ones are looked up by token, not by score, and have no bias to balance it."""
    layers = layer_count(keys)
    kinds = keys.per_layer("mlp_layer_types", layers, ("hash_moe", "moe"))
    looked_up = kinds.count("hash_moe") if kinds else keys.count("num_hash_layers", least=0)
    scored = _experts(keys, router_bias=True)
    by_token = replace(scored, router_bias=False)
    found = [
        Layer(count=1, attention=one, experts=by_token if i < looked_up else scored)
        for i, one in enumerate(_compressed(keys))
    ]
    mtp = keys.count("num_nextn_predict_layers", default=0, least=0)
    return Plan(found, mtp_layers=mtp, streams=keys.count("hc_mult"))


def pangu_ultra_moe(keys: Keys) -> Plan:
    """DeepSeek-V3's layers under other names, and two norms more in each."""
    norms = 4 if keys.flag("sandwich_norm", default=False) else 2
    layers = mixed(
        keys,
        same(keys, _latent(keys)),
        _experts(keys, router_bias=False),
        after_dense(keys, "num_dense_layers"),
        norms=norms,
    )
    return Plan(layers, mtp_layers=keys.count("num_mtp_layers", default=0, least=0))
