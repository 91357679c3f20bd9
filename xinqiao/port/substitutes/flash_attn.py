"""The functions of the package flash_attn (version 2) in plain PyTorch.

They take any floating dtype and any headdim. `deterministic` and `num_splits` choose a kernel there and change nothing
here. With `return_attn_probs` the third result is empty, as it is there without dropout; with dropout it is refused,
because it encodes that kernel's own random numbers.

Source: docstrings of flash_attn/flash_attn_interface.py, https://github.com/Dao-AILab/flash-attention
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xinqiao.port.substitutes.attention import Rules, attend, explicit
from xinqiao.port.substitutes.flash_attn_kvcache import flash_attn_with_kvcache

__all__ = [
    "flash_attn_func",
    "flash_attn_kvpacked_func",
    "flash_attn_qkvpacked_func",
    "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_attn_with_kvcache",
]


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """q (batch, queries, heads, headdim); k, v (batch, keys, kv heads, headdim) → as q.

    With return_attn_probs: (result, log-sum-exp (batch, heads, queries), empty). Causal is bottom-right aligned.
    """
    rules = Rules(softmax_scale, causal, window_size, softcap, alibi_slopes, dropout_p)
    if not return_attn_probs:
        return attend(q, k, v, rules)
    _check_no_dropout(dropout_p)
    out, sums = explicit(q, k, v, rules)
    return out, sums, q.new_empty(0)


def flash_attn_kvpacked_func(
    q: Tensor, kv: Tensor, *args: Any, **kwargs: Any
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """kv (batch, keys, 2, kv heads, headdim); the rest as flash_attn_func."""
    k, v = kv.unbind(2)
    return flash_attn_func(q, k, v, *args, **kwargs)


def flash_attn_qkvpacked_func(qkv: Tensor, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """qkv (batch, tokens, 3, heads, headdim); the rest as flash_attn_func."""
    q, k, v = qkv.unbind(2)
    return flash_attn_func(q, k, v, *args, **kwargs)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Sequences end to end; one after the other is computed, each without padding.

    q             (all queries, heads, headdim)
    k, v          (all keys, kv heads, headdim); with block_table (blocks, block size, kv heads, headdim)
    cu_seqlens_*  (sequences + 1,): where each sequence begins; the host reads them
    block_table   (sequences, blocks of a sequence): its blocks in k and v, in order
    return        as q; with return_attn_probs (result, log-sum-exp (heads, all queries), empty)
    """
    begins, ends = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    outs, sums = [], []
    for i in range(len(begins) - 1):
        queries = q[None, begins[i] : begins[i + 1]]
        if block_table is None:
            keys, values = (t[None, ends[i] : ends[i + 1]] for t in (k, v))
        else:
            count = ends[i + 1] - ends[i]
            keys, values = (t[block_table[i]].flatten(0, 1)[None, :count] for t in (k, v))
        slopes = alibi_slopes[i] if alibi_slopes is not None and alibi_slopes.dim() == 2 else alibi_slopes
        rules = Rules(softmax_scale, causal, window_size, softcap, slopes, dropout_p)
        if return_attn_probs:
            _check_no_dropout(dropout_p)
            out, lse = explicit(queries, keys, values, rules)
            sums.append(lse[0])
        else:
            out = attend(queries, keys, values, rules)
        outs.append(out[0])
    result = torch.cat(outs)
    return (result, torch.cat(sums, -1), q.new_empty(0)) if return_attn_probs else result


def flash_attn_varlen_kvpacked_func(
    q: Tensor, kv: Tensor, *args: Any, **kwargs: Any
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """kv (all keys, 2, kv heads, headdim); the rest as flash_attn_varlen_func."""
    k, v = kv.unbind(1)
    return flash_attn_varlen_func(q, k, v, *args, **kwargs)


def flash_attn_varlen_qkvpacked_func(
    qkv: Tensor, cu_seqlens: Tensor, max_seqlen: int, *args: Any, **kwargs: Any
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """qkv (all tokens, 3, heads, headdim); the rest as flash_attn_varlen_func."""
    q, k, v = qkv.unbind(1)
    return flash_attn_varlen_func(q, k, v, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, *args, **kwargs)


def _check_no_dropout(dropout_p: float) -> None:
    if dropout_p > 0:
        raise NotImplementedError("return_attn_probs with dropout: the pattern of dropped weights is that of a kernel")
