"""DeepSeek-V3.2's sparse attention: what its indexer chooses, and attention over a latent cache at the chosen tokens.

Source: inference/model.py and kernel.py of deepseek-ai/DeepSeek-V3.2-Exp, `Indexer` and `fp8_index`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from xinqiao.ops.reference import exact

TOGETHER = 16  # queries whose tokens are gathered at once


def dsa_index(
    q: Tensor,
    k: Tensor,
    weights: Tensor,
    q_scale: Tensor | None,
    k_scale: Tensor | None,
    table: Tensor | None,
    start: Tensor,
    top_k: int,
) -> Tensor:
    """Tokens with the highest scores, as `xinqiao.ops.dsa.dsa_index` has them."""
    keys = (k if table is None else k[table.long()].flatten(1, 2)).float()
    head_weights = weights.float() * (1 if q_scale is None else factors(q_scale))
    scores = torch.zeros(*q.shape[:2], keys.shape[1], device=q.device)
    for head in range(q.shape[2]):
        hit = exact.dot(q[:, :, head].float(), keys).relu()
        scores = exact.fma(head_weights[:, :, head, None], hit, scores)
    if k_scale is not None:
        scales = factors(k_scale)
        scores = scores * (scales if table is None else scales[table.long()].flatten(1, 2))[:, None]
    return choose(scores, visible(start, q.shape[1], keys.shape[1]), top_k)


def factors(scale: Tensor) -> Tensor:
    """fp32 of float32, float8_e8m0fnu, or the latter's bytes."""
    return (scale.view(torch.float8_e8m0fnu) if scale.dtype == torch.uint8 else scale).float()


def visible(start: Tensor, length: int, keys: int) -> Tensor:
    """int64 [batch, length]: how many tokens each query sees."""
    return (start[:, None] + torch.arange(1, length + 1, device=start.device)).clamp(0, keys)


def choose(scores: Tensor, seen: Tensor, top_k: int) -> Tensor:
    """int32 [..., top_k]: places of the highest of the first `seen` fp32 scores, ascending; -1 where there are fewer.

    The lower place wins a tie. Scores that hold a NaN count as zeros.
    """
    keys = scores.shape[-1]
    place = torch.arange(keys, device=scores.device)
    unseen = place >= seen[..., None]
    hidden = scores.masked_fill(unseen, 0)
    hidden = torch.where(hidden.isnan().any(-1, keepdim=True), 0.0, hidden).masked_fill(unseen, -torch.inf)
    best = hidden.sort(dim=-1, descending=True, stable=True).indices[..., :top_k]
    best = best.masked_fill(best >= seen[..., None], keys).sort(dim=-1).values
    found = best.masked_fill(best == keys, -1).to(torch.int32)
    return torch.nn.functional.pad(found, (0, top_k - found.shape[-1]), value=-1)


def dsa_attention(
    q: Tensor,
    latent: Tensor,
    choice: Tensor | None,
    table: Tensor | None,
    start: Tensor,
    d_v: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Attention at the chosen tokens, and the logarithm of each softmax's denominator [batch, length, heads]."""
    results = []
    for queries, rows, kept in _gathered(q, latent, choice, table, start):
        keys = _wide(latent).flatten(0, 1)[rows]
        scores = _scores(_wide(q)[:, queries], keys, kept, scale)
        lse = scores.logsumexp(-1)
        p = torch.where(kept[:, :, None], (scores - lse[..., None]).exp(), 0.0)
        results.append((p @ keys[..., :d_v], lse))
    outs, lses = zip(*results, strict=True)
    return torch.cat(outs, 1).to(q.dtype), torch.cat(lses, 1)


def dsa_attention_backward(
    grads: tuple[Tensor, Tensor],
    q: Tensor,
    latent: Tensor,
    choice: Tensor | None,
    table: Tensor | None,
    start: Tensor,
    results: tuple[Tensor, Tensor],
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Gradients of q and latent. grads, results: of and from `dsa_attention`."""
    (d_out, d_lse), (out, lse) = (tuple(map(_wide, pair)) for pair in (grads, results))
    d_v = out.shape[-1]
    share = (d_out * _wide(out)).sum(-1) - d_lse
    d_latent = torch.zeros_like(_wide(latent)).flatten(0, 1)
    d_q = []
    for queries, rows, kept in _gathered(q, latent, choice, table, start):
        keys, wide = _wide(latent).flatten(0, 1)[rows], _wide(q)[:, queries]
        scores = _scores(wide, keys, kept, scale)
        p = torch.where(kept[:, :, None], (scores - lse[:, queries, :, None]).exp(), 0.0)
        d_p = d_out[:, queries] @ keys[..., :d_v].mT
        d_scores = torch.where(kept[:, :, None], p * (d_p - share[:, queries, :, None]) * scale, 0.0)
        d_q.append(d_scores @ keys)
        d_keys = d_scores.mT @ wide
        d_keys[..., :d_v] += p.mT @ d_out[:, queries]
        d_latent.index_add_(0, rows.flatten(), d_keys.flatten(0, 2))
    return torch.cat(d_q, 1).to(q.dtype), d_latent.view_as(latent).to(latent.dtype)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _scores(q: Tensor, keys: Tensor, kept: Tensor, scale: float) -> Tensor:
    return (q @ keys.mT * scale).masked_fill(~kept[:, :, None], -torch.inf)


def _gathered(
    q: Tensor, latent: Tensor, choice: Tensor | None, table: Tensor | None, start: Tensor
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For some queries at a time: which, the rows of the flattened cache that they attend to, and which of them count.

    rows and which count: [batch, queries, n]
    """
    page = latent.shape[1]
    keys = page if table is None else table.shape[1] * page
    seen = visible(start, q.shape[1], keys)
    for first in range(0, q.shape[1], TOGETHER):
        queries = slice(first, first + TOGETHER)
        if choice is None:
            tokens = torch.arange(keys, device=q.device).expand(*seen[:, queries].shape, keys)
            kept = tokens < seen[:, queries, None]
        else:
            tokens = choice[:, queries].long()
            kept = (tokens >= 0) & (tokens < keys)
        tokens = torch.where(kept, tokens, 0)
        batch = torch.arange(q.shape[0], device=q.device)[:, None, None]
        owner = batch if table is None else table.long()[batch, tokens // page]
        yield queries, owner * page + tokens % page, kept
