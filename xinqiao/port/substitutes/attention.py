"""Attention of one batch as flash_attn and xformers define it, through PyTorch's own scaled_dot_product_attention."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Rules:
    """What is added to plain attention.

    scale     factor on q·k; None: 1/sqrt(headdim)
    causal    the last query sees the last key (bottom-right aligned), every earlier query one key less
    window    (left, right): keys that a query sees before and after the key at its own position; -1: all
    softcap   scores become softcap * tanh(scores / softcap); 0: they stay
    slopes    (heads,) or (batch, heads): ALiBi; -slope * distance is added to a score; None: nothing
    dropout   probability that a weight is dropped; the random numbers are those of the device at hand
    """

    scale: float | None = None
    causal: bool = False
    window: tuple[int, int] = (-1, -1)
    softcap: float = 0.0
    slopes: Tensor | None = None
    dropout: float = 0.0


def attend(q: Tensor, k: Tensor, v: Tensor, rules: Rules) -> Tensor:
    """Attention of q over k and v.

    q       (batch, queries, heads, headdim), any floating dtype
    k, v    (batch, keys, kv heads, headdim); n = heads / kv heads is whole, and head h reads kv head h // n
    return  as q; zero where a query sees no key
    ValueError where the heads do not divide.
    """
    k, v = _repeated(q, k), _repeated(q, v)
    if k.shape[1] == 0:
        return q.new_zeros(*q.shape[:-1], v.shape[-1])
    if rules.softcap > 0 or rules.slopes is not None:
        return explicit(q, k, v, rules)[0]
    square = rules.causal and tuple(rules.window) == (-1, -1) and q.shape[1] == k.shape[1]
    seen = None if square else _seen(q.shape[1], k.shape[1], rules, q.device)
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    if seen is None:
        return _sdpa(q, k, v, rules, causal=square).transpose(1, 2)
    some = seen.any(-1, keepdim=True)
    # A row that sees nothing would be NaN, forward and backward: it sees all, and is then zero.
    out = _sdpa(q, k, v, rules, mask=seen | ~some)
    return (out * some).transpose(1, 2)


def explicit(q: Tensor, k: Tensor, v: Tensor, rules: Rules) -> tuple[Tensor, Tensor]:
    """(attention, log-sum-exp of the scores), computed step by step in float32, or float64 for float64.

    The log-sum-exp is (batch, heads, queries), infinite where a query sees no key. All scores are in memory at once.
    """
    k, v = _repeated(q, k), _repeated(q, v)
    wide = torch.promote_types(q.dtype, torch.float32)
    scale = q.shape[-1] ** -0.5 if rules.scale is None else rules.scale
    scores = torch.einsum("bqhd,bkhd->bhqk", q.to(wide), k.to(wide)) * scale
    if rules.softcap > 0:
        scores = rules.softcap * torch.tanh(scores / rules.softcap)
    if rules.slopes is not None:
        slopes = rules.slopes.to(wide)
        slopes = slopes[None, :, None, None] if slopes.dim() == 1 else slopes[:, :, None, None]
        scores = scores - slopes * _distance(q.shape[1], k.shape[1], q.device).abs()
    seen = _seen(q.shape[1], k.shape[1], rules, q.device)
    if seen is not None:
        scores = scores.masked_fill(~seen, -math.inf)
    sums = torch.logsumexp(scores, -1)
    empty = sums == -math.inf
    weights = torch.exp(scores - sums.masked_fill(empty, 0.0).unsqueeze(-1))
    weights = F.dropout(weights, rules.dropout)
    out = torch.einsum("bhqk,bkhd->bqhd", weights, v.to(wide))
    return out.to(q.dtype), sums.masked_fill(empty, math.inf)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, rules: Rules, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=rules.dropout, is_causal=causal, scale=rules.scale
    )


def _repeated(q: Tensor, kv: Tensor) -> Tensor:
    """Keys or values with as many heads as q."""
    times, rest = divmod(q.shape[2], kv.shape[2])
    if rest:
        raise ValueError(f"{q.shape[2]} query heads cannot share {kv.shape[2]} key heads")
    return kv if times == 1 else kv.repeat_interleave(times, dim=2)


def _distance(queries: int, keys: int, device: torch.device) -> Tensor:
    """(queries, keys): position of a key minus that of a query, the last of both side by side."""
    rows = torch.arange(queries, device=device) + (keys - queries)
    return torch.arange(keys, device=device) - rows[:, None]


def _seen(queries: int, keys: int, rules: Rules, device: torch.device) -> Tensor | None:
    """(queries, keys) bool, True where a query sees a key; None where every query sees every key."""
    left, right = rules.window
    right = 0 if rules.causal else right
    if left < 0 and right < 0:
        return None
    distance = _distance(queries, keys, device)
    after = distance <= right if right >= 0 else torch.ones_like(distance, dtype=torch.bool)
    return after & (distance >= -left) if left >= 0 else after
