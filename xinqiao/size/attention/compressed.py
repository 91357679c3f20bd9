"""DeepSeek-V4's attention: one vector is key and value of all heads; a window, and compressed entries before it."""

from collections.abc import Iterator

from xinqiao.cost.kernel import Kernel, decode_attention, elementwise, gemm, stored
from xinqiao.size.attention.latent import indexer
from xinqiao.size.context import Context
from xinqiao.size.model import Attention

Made = Iterator[tuple[str, Kernel]]


def compressed(context: Context, layer: Attention) -> Made:
    """A query sees the window's tokens, and the entries of what lies before: all, or those that an indexer chooses."""
    hidden, batch, wide = context.model.hidden, context.batch, layer.head_dim
    heads, cp = layer.heads / context.plan.tp, context.plan.cp
    yield from context.linear("attention q and kv down", layer.q_rank + wide, hidden)
    yield from context.linear("attention q up", heads * wide, layer.q_rank)
    if layer.compress:
        yield from context.linear("attention compress", 2 * wide * (2 if layer.index_heads else 1), hidden)
    yield "rope and cache", elementwise(context.tokens * (heads + 1) * wide, count=2)
    if layer.index_heads:
        yield from indexer(context, layer, layer.compress)
    if batch.sequences:
        entries = batch.context / layer.compress if layer.compress else 0.0
        seen = min(batch.context, layer.window) / cp, min(entries, layer.index_top_k or entries) / cp
        yield "attention decode", _core(context, layer, batch.sequences * batch.queries, seen, batch.sequences)
    if batch.prefill:
        entries = batch.seen(layer.index_top_k * layer.compress) / layer.compress if layer.compress else 0.0
        tokens, seen = batch.prefill / cp, (batch.seen(layer.window), entries)
        yield "attention prefill", _core(context, layer, tokens, seen, tokens / batch.length)
    yield from _output(context, layer)


def _core(context: Context, layer: Attention, queries: float, seen: tuple[float, float], readers: float) -> Kernel:
    """seen: tokens of the window and entries that a query attends to in the mean; readers: sequences.

    Entries that an indexer chose are other ones for each query: every query reads its own.
    """
    window, entries = seen
    heads, dims = layer.heads / context.plan.tp, (layer.head_dim, layer.head_dim)
    rows = readers * window + (queries if layer.index_top_k else readers) * entries
    cache = rows * layer.head_dim * stored(context.formats.cache)
    return decode_attention(queries, window + entries, heads, dims, cache=cache, form=context.formats.attention)


def _output(context: Context, layer: Attention) -> Made:
    """A projection for each group of heads, then one of all."""
    tp, width = context.plan.tp, layer.heads * layer.value_dim
    groups = layer.out_groups or 1
    if layer.out_groups:
        shape = (context.tokens, layer.out_rank, width / groups)
        yield "attention output of groups", gemm(*shape, context.formats.weights, groups=max(groups / tp, 1.0))
        width = groups * layer.out_rank
    yield from context.linear("attention output", context.model.hidden, width / tp)
