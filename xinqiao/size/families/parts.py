"""What the readers of several architectures share. Every list of layers has one entry a layer."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from xinqiao.size.keys import MOST_LAYERS, Keys
from xinqiao.size.model import Attention, Experts, Layer

FULL, SLIDING = "full_attention", "sliding_attention"


class Plan(NamedTuple):
    """What an architecture's own keys say of a model."""

    layers: Sequence[Layer]
    tied: bool = False  # where the configuration does not say
    mtp_layers: int = 0
    streams: int = 0
    positions: int = 0
    norm_bias: bool = False


def layer_count(keys: Keys) -> int:
    return keys.count("num_hidden_layers", "n_layer", most=MOST_LAYERS)


def grouped(keys: Keys) -> Attention:
    """Grouped-query attention without biases; as many key heads as query heads where there is no other number."""
    heads = keys.count("num_attention_heads", "n_head")
    kv_heads = keys.count("num_key_value_heads", default=heads)
    if heads % kv_heads:
        raise keys.wrong("num_key_value_heads", f"{kv_heads} does not divide {heads} query heads")
    dim = keys.count("head_dim", "attention_head_dim", default=0) or _even_share(keys, heads)
    return Attention(heads=heads, kv_heads=kv_heads, head_dim=dim, value_dim=dim)


def _even_share(keys: Keys, heads: int) -> int:
    hidden = keys.count("hidden_size", "n_embd")
    if hidden % heads:
        raise keys.wrong("head_dim", f"missing, and {heads} heads do not divide the hidden width {hidden}")
    return hidden // heads


def biased(keys: Keys, attention: Attention, *, out: bool = True, default: bool = False) -> Attention:
    """Biases of q, k and v, and of the output where `out`, as attention_bias says."""
    bias = keys.flag("attention_bias", default=default)
    return replace(attention, qkv_bias=bias, out_bias=bias and out)


def windowed(
    keys: Keys, attention: Attention, slides: Callable[[int], bool], *, default: int | None = 0
) -> list[Attention]:
    """Attention of each layer. slides: whether layer i does, where layer_types is missing; default: of the window."""
    layers = layer_count(keys)
    kinds = keys.per_layer("layer_types", layers, (FULL, SLIDING))
    sliding = [kind == SLIDING for kind in kinds] or [slides(i) for i in range(layers)]
    if kinds and any(sliding) and not keys.has("sliding_window"):
        raise keys.wrong("sliding_window", "missing, while layer_types has sliding layers")
    window = keys.count("sliding_window", default=default) if any(sliding) else 0
    return [replace(attention, window=window if here else 0) for here in sliding]


def same(keys: Keys, attention: Attention) -> list[Attention]:
    """The same full attention in each layer."""
    return [attention] * layer_count(keys)


def dense(keys: Keys, attentions: Sequence[Attention], *, norms: int = 2) -> list[Layer]:
    """Layers with a gated FFN of intermediate_size."""
    inner, bias = keys.count("intermediate_size"), keys.flag("mlp_bias", default=False)
    return [Layer(count=1, attention=one, inner=inner, norms=norms, bias=bias) for one in attentions]


def mixed(
    keys: Keys, attentions: Sequence[Attention], experts: Experts, routed: Sequence[bool], *, norms: int = 2
) -> list[Layer]:
    """Layers with experts where `routed` says so, and a dense FFN of intermediate_size elsewhere."""
    if experts.top_k > experts.count:
        raise keys.wrong("num_experts_per_tok", f"{experts.top_k} of {experts.count} experts")
    inner = 0 if all(routed) else keys.count("intermediate_size")
    return [
        Layer(count=1, attention=one, experts=experts, norms=norms)
        if here
        else Layer(count=1, attention=one, inner=inner, norms=norms)
        for one, here in zip(attentions, routed, strict=True)
    ]


def after_dense(keys: Keys, *names: str, default: int | None = None) -> list[bool]:
    """Whether each layer is routed: all but the first few, as first_k_dense_replace says."""
    layers = layer_count(keys)
    keys.must("moe_layer_freq", 1)
    kinds = keys.per_layer("mlp_layer_types", layers, ("dense", "sparse"))
    if kinds:
        return [kind == "sparse" for kind in kinds]
    first = keys.count("first_k_dense_replace", *names, default=default, least=0)
    return [i >= first for i in range(layers)]


def stepped(keys: Keys) -> list[bool]:
    """Whether each layer is routed: each decoder_sparse_step-th, but those in mlp_only_layers."""
    plain, step = keys.numbers("mlp_only_layers"), keys.count("decoder_sparse_step", default=1)
    return [i not in plain and (i + 1) % step == 0 for i in range(layer_count(keys))]


def alike(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """One entry a kind, in the order in which each first occurs."""
    counts: dict[Layer, int] = {}
    for layer in layers:
        counts[layer] = counts.get(layer, 0) + layer.count
    return tuple(replace(layer, count=count) for layer, count in counts.items())
