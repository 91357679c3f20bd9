"""The kernels of one layer's attention: grouped heads, MLA's latent, DSA's choice of tokens, sliding windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from xinqiao.cost.kernel import Kernel, decode_attention, elementwise, gemm, prefill_attention, stored
from xinqiao.size.model import Attention

if TYPE_CHECKING:
    from xinqiao.size.operators import Context

Made = tuple[str, str, Kernel]  # name, part, kernel


def cached_bytes(attention: Attention, form: str) -> float:
    """Bytes of one token in one layer's KV cache, on all devices together where heads are not repeated."""
    if attention.kv_rank:
        latent = (attention.kv_rank + attention.rope_dim) * stored(form)
        return latent + attention.index_dim * stored("fp8" if attention.index_dim else form)
    return attention.kv_heads * (attention.head_dim + attention.value_dim) * stored(form)


def attention(context: Context, layer: Attention) -> Iterator[Made]:
    """Projections, core, output projection; without norms and all-reduce."""
    yield from (_latent if layer.kv_rank else _grouped)(context, layer)
    heads = layer.heads / context.plan.tp
    yield from _named("attention output", context.linear(context.model.hidden, heads * layer.value_dim))


def _named(name: str, kernels: list[Kernel]) -> Iterator[Made]:
    for kernel in kernels:
        yield (name if kernel.kind == "gemm" else f"{name}: quantise"), "attention", kernel


def _seen(layer: Attention, keys: float) -> float:
    return min(keys, layer.window) if layer.window else keys


def _prefill_keys(context: Context, layer: Attention) -> float:
    """That a prompt's mean token sees: those before it, half of the prompt's own."""
    batch = context.batch
    mean = batch.before + (batch.length + 1) / 2
    if layer.window and batch.before + batch.length > layer.window:
        short = min(layer.window, batch.length)
        return min(mean, layer.window - (short * short / 2 / batch.length if not batch.before else 0))
    return mean


def _grouped(context: Context, layer: Attention) -> Iterator[Made]:
    plan, batch, formats = context.plan, context.batch, context.formats
    heads, kv_heads = layer.heads / plan.tp, max(layer.kv_heads / plan.tp, 1.0)
    both = layer.head_dim + layer.value_dim
    widths = (heads * layer.head_dim, kv_heads * layer.head_dim, kv_heads * layer.value_dim)
    for n in widths if context.written.split else (sum(widths),):
        yield from _named("attention qkv", context.linear(n, context.model.hidden))
    yield from _positions(context, layer, widths)
    if batch.sequences:
        keys = _seen(layer, batch.context) / plan.cp
        read = kv_heads if context.grouped_queries else heads
        yield "attention decode", "attention", decode_attention(
            batch.sequences * batch.queries,
            batch.sequences,
            keys,
            heads,
            layer.head_dim,
            layer.value_dim,
            cached=read * both * stored(formats.cache),
            form=formats.attention,
        )
    if batch.prefill:
        yield "attention prefill", "attention", prefill_attention(
            batch.prefill / plan.cp,
            _prefill_keys(context, layer),
            heads,
            layer.head_dim,
            layer.value_dim,
            kv_heads=kv_heads,
            form=formats.attention,
        )


def _positions(context: Context, layer: Attention, widths: tuple[float, ...]) -> Iterator[Made]:
    """Norms and rotary positions of queries and keys, and the way of keys and values into the cache."""
    written, batch = context.written, context.batch
    rotated = widths[:2] if written.split else (sum(widths),)
    for width in rotated:
        if written.split and layer.qk_norm:
            yield "attention norms", "attention", written.norm.over(context.tokens * width)
        yield "rope and cache", "attention", written.rope.over(context.tokens * width)
    if written.append:
        held = batch.sequences * _seen(layer, batch.context) / context.plan.cp if written.grows else 0.0
        yield "cache append", "attention", written.append.over((context.tokens + held) * sum(widths[1:]))


def _latent(context: Context, layer: Attention) -> Iterator[Made]:
    """MLA: decode and DSA attend in the latent's own space, where all heads share one key; prefill per head."""
    plan, hidden = context.plan, context.model.hidden
    heads, nope = layer.heads / plan.tp, layer.head_dim - layer.rope_dim
    down = layer.kv_rank + layer.rope_dim
    if layer.q_rank:
        yield from _named("attention q and kv down", context.linear(layer.q_rank + down, hidden))
        yield from _named("attention q up", context.linear(heads * layer.head_dim, layer.q_rank))
    else:
        yield from _named("attention q and kv down", context.linear(heads * layer.head_dim + down, hidden))
    yield "rope and cache", "attention", elementwise(context.tokens * (heads * layer.rope_dim + down), count=2)
    if layer.index_heads:
        yield from _indexer(context, layer)
    batch = context.batch
    if batch.sequences:
        yield from _absorbed(context, layer, batch.sequences * batch.queries, batch.sequences, batch.context / plan.cp)
    if batch.prefill and layer.index_heads:
        tokens = batch.prefill / plan.cp
        yield from _absorbed(context, layer, tokens, tokens, _prefill_keys(context, layer), cached=False)
    elif batch.prefill:
        tokens = batch.prefill / plan.cp
        wide = heads * (nope + layer.value_dim)
        yield from _named("attention kv up", context.linear(wide, layer.kv_rank, rows=tokens))
        keys = _prefill_keys(context, layer)
        yield "attention prefill", "attention", prefill_attention(
            tokens, keys, heads, layer.head_dim, layer.value_dim, form=context.formats.attention
        )


def _absorbed(
    context: Context, layer: Attention, queries: float, sequences: float, keys: float, *, cached: bool = True
) -> Iterator[Made]:
    """Queries and results are multiplied by the key's and the value's projection instead of the cache."""
    formats, heads = context.formats, layer.heads / context.plan.tp
    nope, rank, wide = layer.head_dim - layer.rope_dim, layer.kv_rank, layer.kv_rank + layer.rope_dim
    form = formats.attention
    if layer.index_top_k:
        keys = min(keys, layer.index_top_k)
    yield "attention q absorb", "attention", gemm(queries, rank, nope, form, groups=heads)
    made = decode_attention(
        queries, sequences, keys, heads, wide, rank, cached=wide * stored(formats.cache), form=form
    )
    name = "attention decode" if cached else "attention prefill"
    yield name, "attention", made
    yield "attention v absorb", "attention", gemm(queries, layer.value_dim, rank, form, groups=heads)


def _indexer(context: Context, layer: Attention) -> Iterator[Made]:
    """DSA: every query's score of every key, in 8 bits, by `index_heads` small heads; then the best of them."""
    heads, dim, batch, tp = layer.index_heads, layer.index_dim, context.batch, context.plan.tp
    eight = context.formats.weights if context.quantised else context.formats.attention
    rows = context.tokens
    yield from _named("indexer q", context.linear(heads * dim, layer.q_rank))
    yield from _named("indexer k and weights", context.linear(dim + heads, context.model.hidden))
    scored = batch.sequences * batch.queries * batch.context / context.plan.cp
    scored += batch.prefill / context.plan.cp * (_prefill_keys(context, layer) if batch.prefill else 0.0)
    cache = batch.sequences * batch.context * dim * stored("fp8")
    product = "int8" if eight == "int8" else "fp8" if eight in ("fp8", "mxfp8", "mxfp4") else eight
    yield "indexer scores", "indexer", Kernel(
        "decode_attention", product, 2 * scored * heads * dim, scored * 4, cache, 0.0
    )
    yield "indexer choice", "indexer", elementwise(scored * 2, passes=2)
    del rows, tp
