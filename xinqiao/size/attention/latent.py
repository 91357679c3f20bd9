"""MLA, the latent that all heads share, and DSA on top of it, which lets each query attend to the best tokens only."""

from collections.abc import Iterator

from xinqiao.cost.kernel import Kernel, decode_attention, elementwise, gemm, prefill_attention, stored
from xinqiao.size.context import Context
from xinqiao.size.model import Attention

Made = Iterator[tuple[str, Kernel]]


def latent(context: Context, layer: Attention) -> Made:
    """Decode attends in the latent's own space, where all heads share one key; prefill per head, but for DSA."""
    plan, hidden, batch = context.plan, context.model.hidden, context.batch
    heads, down = layer.heads / plan.tp, layer.kv_rank + layer.rope_dim
    if layer.q_rank:
        yield from context.linear("attention q and kv down", layer.q_rank + down, hidden)
        yield from context.linear("attention q up", heads * layer.head_dim, layer.q_rank)
    else:
        yield from context.linear("attention q and kv down", heads * layer.head_dim + down, hidden)
    yield "rope and cache", elementwise(context.tokens * (heads * layer.rope_dim + down), count=2)
    if layer.index_heads and not layer.index_shared:
        yield from indexer(context, layer, 1)
    if batch.sequences:
        queries, keys = batch.sequences * batch.queries, min(batch.context, layer.index_top_k or batch.context)
        readers = queries if keys < batch.context else batch.sequences
        yield from _absorbed("attention decode", context, layer, queries, keys / plan.cp, readers)
    if batch.prefill:
        yield from _prefill(context, layer, heads)
    yield from context.linear("attention output", hidden, heads * layer.value_dim)


def _prefill(context: Context, layer: Attention, heads: float) -> Made:
    batch = context.batch
    tokens = batch.prefill / context.plan.cp
    if layer.index_top_k:
        readers = tokens if batch.before + batch.length > layer.index_top_k else tokens / batch.length
        yield from _absorbed("attention prefill", context, layer, tokens, batch.seen(layer.index_top_k), readers)
        return
    nope = layer.head_dim - layer.rope_dim
    rows = tokens * (1 + batch.before / batch.length)
    yield from context.linear("attention kv up", heads * (nope + layer.value_dim), layer.kv_rank, rows=rows)
    dims = (layer.head_dim, layer.value_dim)
    yield "attention prefill", prefill_attention(tokens, batch.seen(), heads, dims, form=context.formats.attention)


def _absorbed(name: str, context: Context, layer: Attention, queries: float, keys: float, readers: float) -> Made:
    """Queries and results, not the cache, are multiplied by the key's and the value's projection.

    readers: sequences that read their keys once for all their queries; queries, where each has tokens of its own.
    """
    form, heads = context.formats.attention, layer.heads / context.plan.tp
    nope, rank, wide = layer.head_dim - layer.rope_dim, layer.kv_rank, layer.kv_rank + layer.rope_dim
    yield "attention q absorb", gemm(queries, rank, nope, form, groups=heads)
    cache = readers * keys * wide * stored(context.formats.cache)
    yield name, decode_attention(queries, keys, heads, (wide, rank), cache=cache, form=form)
    yield "attention v absorb", gemm(queries, layer.value_dim, rank, form, groups=heads)


def indexer(context: Context, layer: Attention, compress: int) -> Made:
    """Every query's score of every key (of one in `compress`) by small heads in 8 bits, and the choice of the best."""
    batch, heads, dim, cp = context.batch, layer.index_heads, layer.index_dim, context.plan.cp
    yield from context.linear("indexer q", heads * dim, layer.q_rank)
    yield from context.linear("indexer k and weights", dim * (4 if compress > 1 else 1) + heads, context.model.hidden)
    scored = batch.sequences * batch.queries * batch.context / compress / cp
    if batch.prefill:
        scored += batch.prefill * batch.seen() / compress / cp
    cache = batch.sequences * batch.context / compress / cp * dim * stored("fp8")
    made = Kernel("index_attention", context.eight, 2 * scored * heads * dim, scored * 4, cache)
    yield "indexer scores", made
    yield "indexer choice", elementwise(scored * 2, passes=2)
