"""Attention over a cache of keys and values, as flash_attn has it for generating text; no gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from xinqiao.port.substitutes.attention import Rules, attend, explicit
from xinqiao.port.substitutes.flash_attn_rotary import rotate


@torch.no_grad()
def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    cache_seqlens: int | Tensor | None = None,
    cache_batch_idx: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    block_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: Tensor | None = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of q over the cache, after k and v are written into it.

    q                 (batch, queries, heads, headdim)
    k_cache, v_cache  (rows, length, kv heads, headdim); with block_table (blocks, block size, kv heads, headdim)
    k, v              (batch, new, kv heads, headdim), written in place at cache_seqlens; k is rotated first
    rotary_cos, _sin  (positions, rotary dim / 2); q is rotated too, all of it by one position unless causal or windowed
    cache_seqlens     keys in the cache before the call; None: all of it. The host reads it
    cache_batch_idx   (batch,): the row of the cache of each; None: 0, 1, ...
    cache_leftpad     (batch,): keys before this one are not there
    return            as q; with return_softmax_lse also (batch, heads, queries)
    ValueError where the package itself refuses, and for a rotation together with cache_leftpad.
    """
    _check(k, v, cache_seqlens, rotary_cos, cache_leftpad, block_table)
    before = _lengths(cache_seqlens, q.shape[0], k_cache, block_table)
    moves = causal or tuple(window_size) != (-1, -1)
    outs, sums = [], []
    for i, length in enumerate(before):
        cells = _cells(i, k_cache, cache_batch_idx, block_table)
        queries = q[i : i + 1]
        if rotary_cos is not None and rotary_sin is not None:
            queries = _rotated(queries, rotary_cos, rotary_sin, length, rotary_interleaved, moves)
        if k is not None and v is not None:
            keys = k[i : i + 1]
            if rotary_cos is not None and rotary_sin is not None:
                keys = _rotated(keys, rotary_cos, rotary_sin, length, rotary_interleaved, True)
            new = tuple(c[length : length + keys.shape[1]] for c in cells)
            k_cache[new], v_cache[new] = keys[0].to(k_cache.dtype), v[i].to(v_cache.dtype)
            length += keys.shape[1]
        first = int(cache_leftpad[i]) if cache_leftpad is not None else 0
        there = tuple(c[first:length] for c in cells)
        slopes = alibi_slopes[i] if alibi_slopes is not None and alibi_slopes.dim() == 2 else alibi_slopes
        rules = Rules(softmax_scale, causal, window_size, softcap, slopes)
        if return_softmax_lse:
            out, lse = explicit(queries, k_cache[there][None], v_cache[there][None], rules)
            sums.append(lse)
        else:
            out = attend(queries, k_cache[there][None], v_cache[there][None], rules)
        outs.append(out)
    return (torch.cat(outs), torch.cat(sums)) if return_softmax_lse else torch.cat(outs)


def _check(
    k: Tensor | None,
    v: Tensor | None,
    lengths: int | Tensor | None,
    cos: Tensor | None,
    leftpad: Tensor | None,
    table: Tensor | None,
) -> None:
    if (k is None) != (v is None):
        raise ValueError("k and v come together")
    if lengths is None and (k is not None or cos is not None):
        raise ValueError("cache_seqlens must say where k and v go")
    if cos is not None and k is None:
        raise ValueError("rotary_cos and rotary_sin need k and v")
    if leftpad is not None and (cos is not None or table is not None):
        raise ValueError("cache_leftpad goes with neither a rotation nor a block_table")


def _lengths(lengths: int | Tensor | None, batch: int, cache: Tensor, table: Tensor | None) -> list[int]:
    if lengths is None:
        lengths = cache.shape[1] if table is None else table.shape[1] * cache.shape[1]
    return [lengths] * batch if isinstance(lengths, int) else [int(n) for n in lengths.tolist()]


def _cells(i: int, cache: Tensor, rows: Tensor | None, table: Tensor | None) -> tuple[Tensor, Tensor]:
    """Two index tensors: where each position of sequence i lies in the first two dimensions of the cache."""
    if table is None:
        position = torch.arange(cache.shape[1], device=cache.device)
        row = i if rows is None else int(rows[i])
        return torch.full_like(position, row), position
    block = cache.shape[1]
    position = torch.arange(table.shape[1] * block, device=cache.device)
    return table[i].to(torch.int64)[position // block], position % block


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, position: int, interleaved: bool, moves: bool) -> Tensor:
    """x (1, tokens, heads, headdim) rotated by its positions from `position` on, or all by `position`."""
    count = x.shape[1] if moves else 1
    return rotate(x, cos[position : position + count], sin[position : position + count], interleaved)
