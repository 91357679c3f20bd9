"""Native sparse attention (arXiv 2502.11089) in plain PyTorch: its three branches, and how blocks are chosen.

Rows of all sequences lie one after the other: q [rows, heads, d_k], k [keys, kv_heads, d_k], v [keys, kv_heads, d_v].
`sequences` is int64 [n, 5]: first row and number of rows of q, first row and number of rows of k, and the position of
the first query among the tokens. Query head h reads key head h // (heads / kv_heads).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from xinqiao.ops.reference import exact
from xinqiao.ops.rules import Choosing, Keys, offsets


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sequences: Tensor,
    keys: Keys | Choosing,
    choice: Tensor | None,
    scale: float,
    table: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention over the keys that a query sees: `_mask` says which.

    Returns out [rows, heads, d_v] in q's dtype and the logarithm of each softmax's denominator [rows, heads], fp32 or
    fp64: 0 and -inf over no key. table: k and v are pages; see `_unpaged`.
    """
    if table is not None:
        (k, v), sequences = _unpaged((k, v), table, sequences)
    work = torch.promote_types(q.dtype, torch.float32)
    out = q.new_zeros(*q.shape[:2], v.shape[2])
    lse = q.new_full(q.shape[:2], -torch.inf, dtype=work)
    for q0, rows, k0, count, start in sequences.tolist():
        a, b = slice(q0, q0 + rows), slice(k0, k0 + count)
        mask = _mask(keys, None if choice is None else choice[a], (rows, count, start), q)
        query, key, value = q[a].transpose(0, 1).to(work), _spread(k[b], q).to(work), _spread(v[b], q).to(work)
        logits = torch.where(mask, query @ key.mT * scale, -torch.inf)
        found = logits.logsumexp(-1)
        out[a] = (torch.where(mask, (logits - found[..., None]).exp(), 0.0) @ value).transpose(0, 1).to(q.dtype)
        lse[a] = found.T
    return out, lse


def compressed(
    q: Tensor, k: Tensor, v: Tensor, sequences: Tensor, rule: Choosing, scale: float, table: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention over compressed keys and values, one row each, and the blocks chosen by it."""
    if table is not None:
        (k, v), sequences = _unpaged((k, v), table, sequences)
    return *attend(q, k, v, sequences, rule, None, scale), choose(q, k, sequences, rule, scale)


def _unpaged(caches: tuple[Tensor, Tensor], table: Tensor, sequences: Tensor) -> tuple[list[Tensor], Tensor]:
    """Rows of pages [pages, tokens of a page, kv_heads, d], one sequence after the other.

    table: int32 [sequences, pages]: token t of sequence i is in page table[i, t // tokens of a page].
    """
    rows, first = [], 0
    moved = sequences.clone()
    for i, (_, _, _, count, _) in enumerate(sequences.tolist()):
        token = torch.arange(count, device=table.device)
        page = caches[0].shape[1]
        rows.append(table[i, token // page].long() * page + token % page)
        moved[i, 2], first = first, first + count
    return [cache.flatten(0, 1)[torch.cat(rows)] for cache in caches], moved


def forward(
    q: Tensor,
    branches: Sequence[Tensor],
    gates: Tensor,
    sequences: Sequence[Tensor],
    rule: Choosing,
    tokens: int,
    scale: float,
    tables: Sequence[Tensor] = (),
) -> Tensor:
    """The three branches, each times its column of gates [rows, heads, 3], summed.

    branches: keys and values, compressed, selected and window. sequences, tables: those of compressed keys, then those
    of tokens.
    """
    ck, cv, k, v, wk, wv = branches
    fewer, all_rows = tables or (None, None)
    one, _, choice = compressed(q, ck, cv, sequences[0], rule, scale, fewer)
    two, _ = attend(q, k, v, sequences[1], Keys(block=rule.block), choice, scale, all_rows)
    three, _ = attend(q, wk, wv, sequences[1], Keys(window=tokens), None, scale, all_rows)
    work = torch.promote_types(q.dtype, torch.float32)
    return (gates.to(work)[..., None] * torch.stack((one, two, three), -2)).sum(-2).to(q.dtype)


def attend_backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    sequences: Tensor,
    keys: Keys | Choosing,
    choice: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v, where `out` and `lse` are what `attend` gave and `gradient` is that of `out`."""
    dtype = q.dtype
    gradient, q, k, v, out = (t.to(lse.dtype) for t in (gradient, q, k, v, out))
    dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for q0, rows, k0, count, start in sequences.tolist():
        a, b = slice(q0, q0 + rows), slice(k0, k0 + count)
        mask = _mask(keys, None if choice is None else choice[a], (rows, count, start), q)
        query, key, value, up = q[a].transpose(0, 1), _spread(k[b], q), _spread(v[b], q), gradient[a].transpose(0, 1)
        shares = torch.where(mask, (query @ key.mT * scale - lse[a].T[..., None]).exp(), 0.0)
        inner = (up * out[a].transpose(0, 1)).sum(-1, keepdim=True)
        slope = shares * (up @ value.mT - inner) * scale
        dq[a] = (slope @ key).transpose(0, 1)
        dk[b] = _gather(slope.mT @ query, k)
        dv[b] = _gather(shares.mT @ up, v)
    return dq.to(dtype), dk.to(dtype), dv.to(dtype)


def _spread(kv: Tensor, q: Tensor) -> Tensor:
    """[keys, kv_heads, d] → [heads, keys, d]."""
    return kv.repeat_interleave(q.shape[1] // kv.shape[1], 1).transpose(0, 1)


def _gather(per_head: Tensor, kv: Tensor) -> Tensor:
    """[heads, keys, d] → [keys, kv_heads, d], summed over the heads that read a key head."""
    groups = kv.shape[1]
    return per_head.view(groups, len(per_head) // groups, *per_head.shape[1:]).sum(1).transpose(0, 1)


def _mask(keys: Keys | Choosing, choice: Tensor | None, sizes: tuple[int, int, int], q: Tensor) -> Tensor:
    """Which keys a query sees, bool [heads or 1, rows, keys].

    Choosing: the compressed keys whose last token is not after it. Keys: tokens not after it, of the last `window`, in
    the blocks of `choice` int32 [rows, kv_heads, blocks].
    """
    rows, count, start = sizes
    at = torch.arange(start, start + rows, device=q.device)[:, None]
    key = torch.arange(count, device=q.device)
    if isinstance(keys, Choosing):
        return (key * keys.stride + keys.length - 1 <= at)[None]
    mask = key <= at
    if keys.window:
        mask = mask & (key > at - keys.window)
    if choice is None:
        return mask[None]
    taken = torch.zeros(rows, choice.shape[1], -(-count // keys.block) + 1, dtype=torch.bool, device=q.device)
    taken.scatter_(2, torch.where(choice < 0, taken.shape[2] - 1, choice).long(), True)
    wide = taken[..., :-1].repeat_interleave(keys.block, 2)[..., :count]
    return (mask[:, None] & wide).repeat_interleave(q.shape[1] // choice.shape[1], 1).transpose(0, 1)


def choose(q: Tensor, k: Tensor, sequences: Tensor, rule: Choosing, scale: float) -> Tensor:
    """The blocks that each query takes, by compressed keys k: int32 [rows, kv_heads, blocks], ascending, then -1.

    Exact: see `reference/exact.py`. Of equal scores the lower block wins; a query with a NaN among its shares chooses
    as if all its scores were 0.
    """
    choice = torch.full((q.shape[0], k.shape[1], rule.blocks), -1, dtype=torch.int32, device=q.device)
    for q0, rows, k0, count, start in sequences.tolist():
        shares = _shares(q[q0 : q0 + rows], k[k0 : k0 + count], start, rule, scale)
        choice[q0 : q0 + rows] = _highest(_importance(shares, start, rule), start, rule).transpose(0, 1)
    return choice


def _shares(q: Tensor, k: Tensor, start: int, rule: Choosing, scale: float) -> Tensor:
    """Softmax over the compressed keys, summed over the heads of a group (eq. 10): fp32 [kv_heads, rows, keys]."""
    groups, each = k.shape[1], q.shape[1] // k.shape[1]
    seen = _mask(rule, None, (q.shape[0], k.shape[0], start), q)
    query = q.float().unflatten(1, (groups, each)).permute(1, 2, 0, 3)
    logits = exact.dot(query, k.float().transpose(0, 1)[:, None]) * torch.tensor(scale)
    high = torch.where(seen, logits, -torch.inf).amax(-1, keepdim=True) if k.shape[0] else logits.sum(-1, keepdim=True)
    powers = torch.where(seen, exact.exp(logits - high), 0.0)
    shares = torch.where(seen, powers * (1 / exact.total(powers))[..., None], 0.0)
    summed = torch.zeros_like(shares[:, 0])
    for h in range(each):
        summed = summed + shares[:, h]
    return summed


def _importance(shares: Tensor, start: int, rule: Choosing) -> Tensor:
    """The score of each block (eq. 9): fp32 [kv_heads, rows, blocks]."""
    groups, rows, keys = shares.shape
    blocks = torch.arange(-(-(start + rows) // rule.block), device=shares.device)
    scores = torch.zeros(groups, rows, len(blocks), device=shares.device)
    for offset, weight in offsets(rule):
        at = blocks * (rule.block // rule.stride) + offset
        inside = (at >= 0) & (at < keys)
        found = torch.zeros_like(scores)
        found[..., inside] = shares[..., at[inside]]
        scores = scores + found * float(weight)
    return torch.where(shares.isnan().any(-1, keepdim=True), 0.0, scores)


def _highest(scores: Tensor, start: int, rule: Choosing) -> Tensor:
    """The forced blocks and those with the highest scores: int32 [kv_heads, rows, rule.blocks]."""
    groups, rows, blocks = scores.shape
    own = (torch.arange(start, start + rows, device=scores.device) // rule.block)[:, None]
    block = torch.arange(blocks, device=scores.device)
    forced = (block < rule.initial) | (block > own - rule.local)
    ranked = torch.where(forced, torch.inf, scores).masked_fill(block > own, -1.0)
    order = ranked.sort(dim=-1, descending=True, stable=True).indices[..., : rule.blocks]
    taken = order.masked_fill(ranked.gather(-1, order) < 0, blocks).sort(-1).values
    found = torch.full((groups, rows, rule.blocks), -1, dtype=torch.int32, device=scores.device)
    found[..., : taken.shape[-1]] = torch.where(taken == blocks, -1, taken).int()
    return found
