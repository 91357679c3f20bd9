"""The kernels of one layer's attention, and the cache that it keeps."""

from collections.abc import Iterator

from xinqiao.cost.kernel import Kernel, stored
from xinqiao.size.attention.compressed import compressed
from xinqiao.size.attention.grouped import grouped
from xinqiao.size.attention.latent import latent
from xinqiao.size.attention.recurrent import recurrent, state_bytes
from xinqiao.size.context import Context
from xinqiao.size.model import Attention


def attention(context: Context, layer: Attention) -> Iterator[tuple[str, Kernel]]:
    """(name, kernel) of projections, core and output projection; without norms and all-reduce."""
    if layer.conv:
        return recurrent(context, layer)
    if layer.kv_rank:
        return latent(context, layer)
    return (compressed if layer.shared_kv else grouped)(context, layer)


def cache_bytes(layer: Attention, form: str, tokens: float, tp: int = 1) -> float:
    """Bytes on one of `tp` devices that one layer keeps of a sequence of `tokens`."""
    if layer.conv:
        return state_bytes(layer) / tp
    held = min(tokens, layer.window) if layer.window else tokens
    indexed = 0.0 if layer.index_shared else layer.index_dim * stored("fp8")
    if layer.kv_rank:
        return tokens * ((layer.kv_rank + layer.rope_dim) * stored(form) + indexed)
    if layer.shared_kv:
        entries = tokens / layer.compress if layer.compress else 0.0
        return (held + entries) * layer.head_dim * stored(form) + entries * indexed
    heads = max(layer.kv_heads / tp, 1.0)
    return held * heads * (layer.head_dim + layer.value_dim) * stored(form)
