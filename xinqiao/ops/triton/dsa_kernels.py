"""Kernels of attention at chosen tokens of a latent cache, and of the scores that choose them.

A program takes one query and ROWS of its heads, or all of them. Tokens lie one after the other, KEYS to a sequence, or
in pages of PAGE that a table int32 [batch, KEYS / PAGE] lists.
"""

import triton
import triton.language as tl

from xinqiao.ops.triton.arithmetic import e4m3
from xinqiao.ops.triton.attention_tiles import part, product, put


@triton.jit
def cache_rows(
    token: tl.tensor, known: tl.tensor, batch: tl.tensor, table: tl.tensor, keys: tl.tensor, PAGE: tl.constexpr
) -> tl.tensor:
    if PAGE > 0:
        page = tl.load(table + batch * (keys // PAGE) + token // PAGE, mask=known, other=0)
        return page.to(tl.int64) * PAGE + token % PAGE
    return batch.to(tl.int64) * keys + token


@triton.jit
def visible(start: tl.tensor, batch: tl.tensor, query: tl.tensor, keys: tl.tensor) -> tl.tensor:
    return tl.minimum(tl.maximum(tl.load(start + batch).to(tl.int32) + query + 1, 0), keys)


@triton.jit
def widened(x: tl.tensor, BYTES: tl.constexpr) -> tl.tensor:
    return e4m3(x) if BYTES else x.to(tl.float32)


@triton.jit
def scores(
    q: tl.tensor,
    k: tl.tensor,
    weights: tl.tensor,
    table: tl.tensor,
    start: tl.tensor,
    scores: tl.tensor,
    length: tl.tensor,
    keys: tl.tensor,
    first: tl.tensor,
    Q_BYTES: tl.constexpr,
    K_BYTES: tl.constexpr,
    PAGE: tl.constexpr,
    HEADS: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """scores [batch, queries, keys] of the queries from `first` on: fma over d, then over heads, in order.

    Launched with `exact`.
    """
    place, batch = tl.program_id(1), tl.program_id(2)
    query = first + place
    token = tl.program_id(0) * TILE + tl.arange(0, TILE)
    if tl.program_id(0) * TILE < visible(start, batch, query, keys):
        known = token < keys
        head = tl.arange(0, ROWS)
        live = head < HEADS
        line = (batch.to(tl.int64) * length + query) * HEADS + head
        row = cache_rows(token, known, batch, table, keys, PAGE)
        hit = tl.zeros([ROWS, TILE], tl.float32)
        for i in range(D):
            a = widened(tl.load(q + line * D + i, mask=live, other=0), Q_BYTES)
            b = widened(tl.load(k + row * D + i, mask=known, other=0), K_BYTES)
            a, b = tl.broadcast(a[:, None], b[None, :])
            hit = tl.fma(a, b, hit)
        hit = tl.where(hit < 0.0, 0.0, hit)
        found = tl.zeros([TILE], tl.float32)
        for h in range(HEADS):
            one = tl.sum(tl.where(head[:, None] == h, hit, 0.0), 0)
            weight = tl.load(weights + (batch.to(tl.int64) * length + query) * HEADS + h)
            found = tl.fma(tl.zeros([TILE], tl.float32) + weight, one, found)
        to = scores + (batch.to(tl.int64) * tl.num_programs(1) + place) * keys + token
        tl.store(to, found, mask=known)


@triton.jit
def attend(
    q: tl.tensor,
    latent: tl.tensor,
    choice: tl.tensor,
    table: tl.tensor,
    start: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    scale: tl.tensor,
    length: tl.tensor,
    keys: tl.tensor,
    PAGE: tl.constexpr,
    CHOSEN: tl.constexpr,
    HEADS: tl.constexpr,
    D: tl.constexpr,
    DV: tl.constexpr,
    K0: tl.constexpr,
    K1: tl.constexpr,
    V0: tl.constexpr,
    V1: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """CHOSEN: how many tokens a query chose, 0 for all that it sees. Values are the first DV numbers of a key."""
    query, batch = tl.program_id(0), tl.program_id(2)
    head = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    live = head < HEADS
    place = batch.to(tl.int64) * length + query
    line = place * HEADS + head
    qa = part(q + line * D, live, D, 0, K0)
    qb = part(q + line * D, live, D, K0, K1) if K1 > 0 else qa
    high = tl.full([ROWS], -float("inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    oa = tl.zeros([ROWS, V0], tl.float32)
    ob = tl.zeros([ROWS, V1 if V1 > 0 else 16], tl.float32)
    count = CHOSEN if CHOSEN > 0 else visible(start, batch, query, keys)
    for s in range(0, count, TILE):
        at = s + tl.arange(0, TILE)
        token = tl.load(choice + place * CHOSEN + at, mask=at < count, other=-1) if CHOSEN > 0 else at
        known = (at < count) & (token >= 0) & (token < keys)
        row = cache_rows(token, known, batch, table, keys, PAGE)
        ka = part(latent + row * D, known, D, 0, K0).to(qa.dtype)
        kb = part(latent + row * D, known, D, K0, K1).to(qa.dtype) if K1 > 0 else ka
        logits = tl.where(known[None, :], product(qa, qb, ka, kb, K1) * scale, -float("inf"))
        higher = tl.maximum(high, tl.max(logits, 1))
        base = tl.where(higher == -float("inf"), 0.0, higher)
        kept, share = tl.exp(high - base), tl.exp(logits - base[:, None])
        total = total * kept + tl.sum(share, 1)
        high = higher
        va = ka if DV == K0 else part(latent + row * D, known, DV, 0, V0).to(qa.dtype)
        oa = oa * kept[:, None] + tl.dot(share.to(va.dtype), va, input_precision="ieee")
        if V1 > 0:
            vb = part(latent + row * D, known, DV, V0, V1).to(qa.dtype)
            ob = ob * kept[:, None] + tl.dot(share.to(vb.dtype), vb, input_precision="ieee")
    by = tl.where(total == 0.0, 1.0, total)
    put(out + line * DV, live, oa / by[:, None], DV, 0, V0)
    if V1 > 0:
        put(out + line * DV, live, ob / by[:, None], DV, V0, V1)
    tl.store(lse + line, tl.where(total == 0.0, -float("inf"), high + tl.log(by)).to(lse.dtype.element_ty), mask=live)


@triton.jit
def attend_back(
    gradient: tl.tensor,
    q: tl.tensor,
    latent: tl.tensor,
    choice: tl.tensor,
    table: tl.tensor,
    start: tl.tensor,
    lse: tl.tensor,
    inner: tl.tensor,
    dq: tl.tensor,
    dlatent: tl.tensor,
    scale: tl.tensor,
    length: tl.tensor,
    keys: tl.tensor,
    PAGE: tl.constexpr,
    CHOSEN: tl.constexpr,
    HEADS: tl.constexpr,
    D: tl.constexpr,
    DV: tl.constexpr,
    K0: tl.constexpr,
    K1: tl.constexpr,
    V0: tl.constexpr,
    V1: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """dq, and dlatent in fp32 by atomic additions: the order of its sum, and so its last bits, vary from run to run."""
    query, batch = tl.program_id(0), tl.program_id(2)
    head = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    live = head < HEADS
    place = batch.to(tl.int64) * length + query
    line = place * HEADS + head
    qa = part(q + line * D, live, D, 0, K0)
    qb = part(q + line * D, live, D, K0, K1) if K1 > 0 else qa
    ga = part(gradient + line * DV, live, DV, 0, V0)
    gb = part(gradient + line * DV, live, DV, V0, V1) if V1 > 0 else ga
    norm = tl.load(lse + line, mask=live, other=0.0).to(tl.float32)
    mean = tl.load(inner + line, mask=live, other=0.0)
    da = tl.zeros([ROWS, K0], tl.float32)
    db = tl.zeros([ROWS, K1 if K1 > 0 else 16], tl.float32)
    count = CHOSEN if CHOSEN > 0 else visible(start, batch, query, keys)
    for s in range(0, count, TILE):
        at = s + tl.arange(0, TILE)
        token = tl.load(choice + place * CHOSEN + at, mask=at < count, other=-1) if CHOSEN > 0 else at
        known = (at < count) & (token >= 0) & (token < keys)
        row = cache_rows(token, known, batch, table, keys, PAGE)
        ka = part(latent + row * D, known, D, 0, K0).to(qa.dtype)
        kb = part(latent + row * D, known, D, K0, K1).to(qa.dtype) if K1 > 0 else ka
        va = ka if DV == K0 else part(latent + row * D, known, DV, 0, V0).to(qa.dtype)
        vb = part(latent + row * D, known, DV, V0, V1).to(qa.dtype) if V1 > 0 else va
        seen = live[:, None] & known[None, :]
        share = tl.where(seen, tl.exp(product(qa, qb, ka, kb, K1) * scale - norm[:, None]), 0.0)
        slope = (share * (product(ga, gb, va, vb, V1) - mean[:, None]) * scale).to(ka.dtype)
        share = share.to(ga.dtype)
        da += tl.dot(slope, ka, input_precision="ieee")
        add(dlatent + row * D, known, tl.dot(tl.trans(slope), qa, input_precision="ieee"), D, 0, K0)
        add(dlatent + row * D, known, tl.dot(tl.trans(share), ga, input_precision="ieee"), DV, 0, V0)
        if K1 > 0:
            db += tl.dot(slope, kb, input_precision="ieee")
            add(dlatent + row * D, known, tl.dot(tl.trans(slope), qb, input_precision="ieee"), D, K0, K1)
        if V1 > 0:
            add(dlatent + row * D, known, tl.dot(tl.trans(share), gb, input_precision="ieee"), DV, V0, V1)
    put(dq + line * D, live, da, D, 0, K0)
    if K1 > 0:
        put(dq + line * D, live, db, D, K0, K1)


@triton.jit
def add(
    rows: tl.tensor, mask: tl.tensor, tile: tl.tensor, D: tl.constexpr, FROM: tl.constexpr, WIDTH: tl.constexpr
) -> None:
    column = FROM + tl.arange(0, WIDTH)
    tl.atomic_add(rows[:, None] + column[None, :], tile, mask=mask[:, None] & (column < D)[None, :])
