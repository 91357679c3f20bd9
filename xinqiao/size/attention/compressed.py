"""DeepSeek-V4's attention: one vector a token is key and value of all heads; a window, and compressed entries before it."""

from collections.abc import Iterator

from xinqiao.cost.kernel import Kernel, decode_attention, elementwise, gemm, stored
from xinqiao.size.attention.latent import indexer
from xinqiao.size.context import Context
from xinqiao.size.model import Attention

Made = Iterator[tuple[str, Kernel]]


def compressed(context: Context, layer: Attention) -> Made:
    """A query sees the window's tokens and the entries of what lies before it: all, or those that an indexer chooses."""
    hidden, batch, wide = context.model.hidden, context.batch, layer.head_dim
    heads = layer.heads / context.plan.tp
    yield from context.linear("attention q and kv down", layer.q_rank + wide, hidden)
    yield from context.linear("attention q up", heads * wide, layer.q_rank)
    if layer.compress:
        yield from context.linear("attention compress", 2 * wide * (2 if layer.index_heads else 1), hidden)
    yield "rope and cache", elementwise(context.tokens * (heads + 1) * wide, count=2)
    if layer.index_heads:
        yield from indexer(context, layer, layer.compress)
    if batch.sequences:
        keys = _keys(layer, batch.context) / context.plan.cp
        yield "attention decode", _core(context, layer, batch.sequences * batch.queries, keys, batch.sequences)
    if batch.prefill:
        tokens = batch.prefill / context.plan.cp
        yield "attention prefill", _core(context, layer, tokens, _keys(layer, batch.seen()), tokens / batch.length)
    yield from _output(context, layer)


def _keys(layer: Attention, tokens: float) -> float:
    """That a query with so many tokens before it sees."""
    entries = tokens / layer.compress if layer.compress else 0.0
    return min(tokens, layer.window) + min(entries, layer.index_top_k or entries)


def _core(context: Context, layer: Attention, queries: float, keys: float, readers: float) -> Kernel:
    cache = readers * keys * layer.head_dim * stored(context.formats.cache)
    heads, dims = layer.heads / context.plan.tp, (layer.head_dim, layer.head_dim)
    return decode_attention(queries, keys, heads, dims, cache=cache, form=context.formats.attention)


def _output(context: Context, layer: Attention) -> Made:
    """A projection for each group of heads, then one of all."""
    tp, width = context.plan.tp, layer.heads * layer.value_dim
    groups = layer.out_groups or 1
    if layer.out_groups:
        shape = (context.tokens, layer.out_rank, width / groups)
        yield "attention output of groups", gemm(*shape, context.formats.weights, groups=max(groups / tp, 1.0))
        width = groups * layer.out_rank
    yield from context.linear("attention output", context.model.hidden, width / tp)
