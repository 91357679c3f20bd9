"""Softmax attention over heads of keys and values that groups of query heads share; sliding windows."""

from collections.abc import Iterator

from xinqiao.cost.kernel import Kernel, decode_attention, elementwise, prefill_attention, stored
from xinqiao.size.context import Context
from xinqiao.size.model import Attention


def grouped(context: Context, layer: Attention) -> Iterator[tuple[str, Kernel]]:
    """MHA, GQA and MQA."""
    plan, hidden = context.plan, context.model.hidden
    heads, kv_heads = layer.heads / plan.tp, max(layer.kv_heads / plan.tp, 1.0)
    both = layer.head_dim + layer.value_dim
    queries = heads * layer.head_dim * (2 if layer.query_gate else 1)
    made = (queries, kv_heads * layer.head_dim, kv_heads * layer.value_dim)
    for n in made if context.software.written.split else (queries + kv_heads * both,):
        yield from context.linear("attention qkv", n, hidden)
    yield from _positions(context, layer, heads * layer.head_dim, kv_heads)
    yield from _decode(context, layer, heads, kv_heads)
    yield from _prefill(context, layer, heads, kv_heads)
    if layer.query_gate:
        yield "attention gate", elementwise(context.tokens * heads * layer.value_dim, passes=3)
    yield from context.linear("attention output", hidden, heads * layer.value_dim)


def _positions(context: Context, layer: Attention, queries: float, kv_heads: float) -> Iterator[tuple[str, Kernel]]:
    """Norms and rotary positions of queries and keys, and the way of keys and values into the cache."""
    written, batch = context.software.written, context.batch
    keys, values = kv_heads * layer.head_dim, kv_heads * layer.value_dim
    for width in (queries, keys) if written.split else (queries + keys + values,):
        if written.split and layer.qk_norm:
            yield "attention norms", written.norm.over(context.tokens * width)
        yield "rope and cache", written.rope.over(context.tokens * width)
    if written.append:
        held = min(batch.context, layer.window or batch.context) / context.plan.cp if written.grows else 0.0
        yield "cache append", written.append.over((context.tokens + batch.sequences * held) * (keys + values))


def _decode(context: Context, layer: Attention, heads: float, kv_heads: float) -> Iterator[tuple[str, Kernel]]:
    batch = context.batch
    if not batch.sequences:
        return
    read = kv_heads if context.software.grouped_queries else heads
    row = read * (layer.head_dim + layer.value_dim) * stored(context.formats.cache)
    keys = min(batch.context, layer.window or batch.context) / context.plan.cp
    yield (
        "attention decode",
        decode_attention(
            batch.sequences * batch.queries,
            keys,
            heads,
            (layer.head_dim, layer.value_dim),
            cache=batch.sequences * keys * row,
            form=context.formats.attention,
        ),
    )


def _prefill(context: Context, layer: Attention, heads: float, kv_heads: float) -> Iterator[tuple[str, Kernel]]:
    batch = context.batch
    if batch.prefill:
        keys = batch.seen(layer.window)
        dims = (layer.head_dim, layer.value_dim)
        tokens = batch.prefill / context.plan.cp
        made = prefill_attention(tokens, keys, heads, dims, kv_heads=kv_heads, form=context.formats.attention)
        held = min(batch.before, layer.window or batch.before) * tokens / batch.length
        row = kv_heads * (layer.head_dim + layer.value_dim) * stored(context.formats.cache)
        yield "attention prefill", made._replace(cache=held * row)
