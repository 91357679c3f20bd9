"""Attention of tokens, over the keys up to them, in a window, or in chosen blocks, and its gradients.

A program takes TOKENS tokens of one sequence and the GROUP heads that share a key head: ROWS ≥ TOKENS · GROUP rows of a
tile. `parts` has its sequence (-1: none) and its first token, or for the keys' gradients its block of keys.
"""

import triton
import triton.language as tl

from xinqiao.ops.triton.attention_tiles import first_key, last_key, part, product, put


@triton.jit
def placed(parts: tl.tensor, sequences: tl.tensor) -> tl.tensor:
    """(sequence, first token or block, first row of q, rows, first row of k, keys, position of the first query)."""
    at = parts + 2 * tl.program_id(0).to(tl.int64)
    sequence = tl.maximum(tl.load(at), 0).to(tl.int64)
    row = sequences + 5 * sequence
    first = tl.load(at + 1)
    rows, count, start = tl.load(row + 1).to(tl.int32), tl.load(row + 3).to(tl.int32), tl.load(row + 4).to(tl.int32)
    return sequence, first, tl.load(row), rows, tl.load(row + 2), count, start


@triton.jit
def key_rows(
    key: tl.tensor,
    known: tl.tensor,
    k0: tl.tensor,
    sequence: tl.tensor,
    pages: tl.tensor,
    PAGES: tl.constexpr,
    PAGE: tl.constexpr,
) -> tl.tensor:
    """Rows of k that hold these keys: one after the other from k0 on, or in pages of PAGE, int32 [sequences, PAGES]."""
    if PAGE > 0:
        page = tl.load(pages + sequence * PAGES + key // PAGE, mask=known, other=0)
        return page.to(tl.int64) * PAGE + key % PAGE
    return k0 + key


@triton.jit
def span(
    choice: tl.tensor,
    i: tl.tensor,
    low: tl.tensor,
    high: tl.tensor,
    CHOSEN: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
) -> tl.tensor:
    """(first, end) of the keys to visit: the i-th chosen block's, or all from `low` up to `high`."""
    if CHOSEN:
        block = tl.load(choice + i, mask=high > 0, other=-1)
        first = tl.where(block < 0, 0, block * BLOCK)
        end = tl.where(block < 0, 0, tl.minimum(first + BLOCK, high))
    else:
        first = low // TILE * TILE
        end = high
    return first, end


@triton.jit
def attend(
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    choice: tl.tensor,
    sequences: tl.tensor,
    parts: tl.tensor,
    pages: tl.tensor,
    out: tl.tensor,
    lse: tl.tensor,
    scale: tl.tensor,
    heads: tl.tensor,
    kv_heads: tl.tensor,
    CHOSEN: tl.constexpr,
    BLOCK: tl.constexpr,
    LENGTH: tl.constexpr,
    STRIDE: tl.constexpr,
    WINDOW: tl.constexpr,
    PAGES: tl.constexpr,
    PAGE: tl.constexpr,
    GROUP: tl.constexpr,
    TOKENS: tl.constexpr,
    DK: tl.constexpr,
    DV: tl.constexpr,
    K0: tl.constexpr,
    K1: tl.constexpr,
    V0: tl.constexpr,
    V1: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """CHOSEN: how many blocks of BLOCK keys a token chose, 0 for all keys. TILE: keys at once."""
    head = tl.program_id(1)
    sequence, first, q0, rows, k0, count, start = placed(parts, sequences)
    r = tl.arange(0, ROWS)
    token = first + r // GROUP
    live = (r < TOKENS * GROUP) & (token < rows)
    line = (q0 + token) * heads + head * GROUP + r % GROUP
    last = tl.where(live, tl.minimum(last_key(start + token, LENGTH, STRIDE), count - 1), -1)
    least = first_key(start + token, WINDOW)
    qa = part(q + line * DK, live, DK, 0, K0)
    qb = part(q + line * DK, live, DK, K0, K1) if K1 > 0 else qa
    high = tl.full([ROWS], -float("inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    oa = tl.zeros([ROWS, V0], tl.float32)
    ob = tl.zeros([ROWS, V1 if V1 > 0 else 16], tl.float32)
    chosen = choice + ((q0 + first) * kv_heads + head) * CHOSEN if CHOSEN > 0 else choice
    lowest = tl.min(tl.where(live, least, count), 0)
    for i in range(CHOSEN if CHOSEN > 0 else 1):
        begin, end = span(chosen, i, lowest, tl.max(last, 0) + 1, CHOSEN > 0, BLOCK, TILE)
        for s in range(begin, end, TILE):
            key = s + tl.arange(0, TILE)
            known = key < end
            at = key_rows(key, known, k0, sequence, pages, PAGES, PAGE) * kv_heads + head
            ka = part(k + at * DK, known, DK, 0, K0).to(qa.dtype)
            kb = part(k + at * DK, known, DK, K0, K1).to(qa.dtype) if K1 > 0 else ka
            seen = known[None, :] & (key[None, :] <= last[:, None]) & (key[None, :] >= least[:, None])
            logits = tl.where(seen, product(qa, qb, ka, kb, K1) * scale, -float("inf"))
            higher = tl.maximum(high, tl.max(logits, 1))
            base = tl.where(higher == -float("inf"), 0.0, higher)
            kept = tl.exp(high - base)
            share = tl.exp(logits - base[:, None])
            total = total * kept + tl.sum(share, 1)
            high = higher
            va = part(v + at * DV, known, DV, 0, V0).to(qa.dtype)
            oa = oa * kept[:, None] + tl.dot(share.to(va.dtype), va, input_precision="ieee")
            if V1 > 0:
                vb = part(v + at * DV, known, DV, V0, V1).to(qa.dtype)
                ob = ob * kept[:, None] + tl.dot(share.to(vb.dtype), vb, input_precision="ieee")
    by = tl.where(total == 0.0, 1.0, total)
    put(out + line * DV, live, oa / by[:, None], DV, 0, V0)
    if V1 > 0:
        put(out + line * DV, live, ob / by[:, None], DV, V0, V1)
    tl.store(lse + line, tl.where(total == 0.0, -float("inf"), high + tl.log(by)).to(lse.dtype.element_ty), mask=live)


@triton.jit
def attend_back_q(
    gradient: tl.tensor,
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    choice: tl.tensor,
    sequences: tl.tensor,
    parts: tl.tensor,
    lse: tl.tensor,
    inner: tl.tensor,
    dq: tl.tensor,
    scale: tl.tensor,
    heads: tl.tensor,
    kv_heads: tl.tensor,
    CHOSEN: tl.constexpr,
    BLOCK: tl.constexpr,
    LENGTH: tl.constexpr,
    STRIDE: tl.constexpr,
    WINDOW: tl.constexpr,
    GROUP: tl.constexpr,
    TOKENS: tl.constexpr,
    DK: tl.constexpr,
    DV: tl.constexpr,
    K0: tl.constexpr,
    K1: tl.constexpr,
    V0: tl.constexpr,
    V1: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """dq. inner: the sum of out · gradient over d_v, fp32 [rows, heads]."""
    head = tl.program_id(1)
    _sequence, first, q0, rows, k0, count, start = placed(parts, sequences)
    r = tl.arange(0, ROWS)
    token = first + r // GROUP
    live = (r < TOKENS * GROUP) & (token < rows)
    line = (q0 + token) * heads + head * GROUP + r % GROUP
    last = tl.where(live, tl.minimum(last_key(start + token, LENGTH, STRIDE), count - 1), -1)
    least = first_key(start + token, WINDOW)
    qa = part(q + line * DK, live, DK, 0, K0)
    qb = part(q + line * DK, live, DK, K0, K1) if K1 > 0 else qa
    ga = part(gradient + line * DV, live, DV, 0, V0)
    gb = part(gradient + line * DV, live, DV, V0, V1) if V1 > 0 else ga
    norm = tl.load(lse + line, mask=live, other=0.0).to(tl.float32)
    mean = tl.load(inner + line, mask=live, other=0.0)
    da = tl.zeros([ROWS, K0], tl.float32)
    db = tl.zeros([ROWS, K1 if K1 > 0 else 16], tl.float32)
    chosen = choice + ((q0 + first) * kv_heads + head) * CHOSEN if CHOSEN > 0 else choice
    lowest = tl.min(tl.where(live, least, count), 0)
    for i in range(CHOSEN if CHOSEN > 0 else 1):
        begin, end = span(chosen, i, lowest, tl.max(last, 0) + 1, CHOSEN > 0, BLOCK, TILE)
        for s in range(begin, end, TILE):
            key = s + tl.arange(0, TILE)
            known = key < end
            at = (k0 + key) * kv_heads + head
            ka = part(k + at * DK, known, DK, 0, K0)
            kb = part(k + at * DK, known, DK, K0, K1) if K1 > 0 else ka
            va = part(v + at * DV, known, DV, 0, V0)
            vb = part(v + at * DV, known, DV, V0, V1) if V1 > 0 else va
            seen = known[None, :] & (key[None, :] <= last[:, None]) & (key[None, :] >= least[:, None])
            share = tl.where(seen, tl.exp(product(qa, qb, ka, kb, K1) * scale - norm[:, None]), 0.0)
            slope = (share * (product(ga, gb, va, vb, V1) - mean[:, None]) * scale).to(ka.dtype)
            da += tl.dot(slope, ka, input_precision="ieee")
            if K1 > 0:
                db += tl.dot(slope, kb, input_precision="ieee")
    put(dq + line * DK, live, da, DK, 0, K0)
    if K1 > 0:
        put(dq + line * DK, live, db, DK, K0, K1)


@triton.jit
def attend_back_kv(
    gradient: tl.tensor,
    q: tl.tensor,
    k: tl.tensor,
    v: tl.tensor,
    takers: tl.tensor,
    ends: tl.tensor,
    sequences: tl.tensor,
    parts: tl.tensor,
    lse: tl.tensor,
    inner: tl.tensor,
    dk: tl.tensor,
    dv: tl.tensor,
    scale: tl.tensor,
    heads: tl.tensor,
    kv_heads: tl.tensor,
    CHOSEN: tl.constexpr,
    BLOCK: tl.constexpr,
    LENGTH: tl.constexpr,
    STRIDE: tl.constexpr,
    WINDOW: tl.constexpr,
    GROUP: tl.constexpr,
    TOKENS: tl.constexpr,
    DK: tl.constexpr,
    DV: tl.constexpr,
    K0: tl.constexpr,
    K1: tl.constexpr,
    V0: tl.constexpr,
    V1: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """dk and dv of TILE keys of a block, by every token that sees them, in order: the same sum each time.

    takers, ends  CHOSEN: rows of q that took a block; those of block b and head h end at ends[h · (blocks + 1) + b]
    """
    head = tl.program_id(1)
    _sequence, first, q0, rows, k0, count, start = placed(parts, sequences)
    s = first * BLOCK + tl.program_id(2) * TILE
    key = s + tl.arange(0, TILE)
    known = (key < count) & (key < (first + 1) * BLOCK)
    at = (k0 + key) * kv_heads + head
    ka = part(k + at * DK, known, DK, 0, K0)
    kb = part(k + at * DK, known, DK, K0, K1) if K1 > 0 else ka
    va = part(v + at * DV, known, DV, 0, V0)
    vb = part(v + at * DV, known, DV, V0, V1) if V1 > 0 else va
    dka, dkb = tl.zeros([TILE, K0], tl.float32), tl.zeros([TILE, K1 if K1 > 0 else 16], tl.float32)
    dva, dvb = tl.zeros([TILE, V0], tl.float32), tl.zeros([TILE, V1 if V1 > 0 else 16], tl.float32)
    if CHOSEN:
        place = ends + head.to(tl.int64) * (tl.num_programs(0) + 1) + tl.program_id(0)
        begin, end = tl.load(place), tl.load(place + 1)
    else:
        begin = tl.maximum(s * STRIDE + LENGTH - 1 - start, 0)
        end = tl.minimum(rows, s + TILE - 1 + WINDOW - start) if WINDOW > 0 else rows
    r = tl.arange(0, ROWS)
    for i in range(begin, end, TOKENS):
        token = tl.load(takers + i) - q0 + r // GROUP if CHOSEN else (i + r // GROUP).to(tl.int64)
        live = (r < TOKENS * GROUP) & (token < rows)
        line = (q0 + token) * heads + head * GROUP + r % GROUP
        last = tl.where(live, last_key(start + token, LENGTH, STRIDE), -1)
        least = first_key(start + token, WINDOW)
        qa = part(q + line * DK, live, DK, 0, K0)
        qb = part(q + line * DK, live, DK, K0, K1) if K1 > 0 else qa
        ga = part(gradient + line * DV, live, DV, 0, V0)
        gb = part(gradient + line * DV, live, DV, V0, V1) if V1 > 0 else ga
        norm = tl.load(lse + line, mask=live, other=0.0).to(tl.float32)
        mean = tl.load(inner + line, mask=live, other=0.0)
        seen = known[:, None] & (key[:, None] <= last[None, :]) & (key[:, None] >= least[None, :])
        share = tl.where(seen, tl.exp(product(ka, kb, qa, qb, K1) * scale - norm[None, :]), 0.0)
        slope = (share * (product(va, vb, ga, gb, V1) - mean[None, :]) * scale).to(qa.dtype)
        share = share.to(ga.dtype)
        dka += tl.dot(slope, qa, input_precision="ieee")
        dva += tl.dot(share, ga, input_precision="ieee")
        if K1 > 0:
            dkb += tl.dot(slope, qb, input_precision="ieee")
        if V1 > 0:
            dvb += tl.dot(share, gb, input_precision="ieee")
    put(dk + at * DK, known, dka, DK, 0, K0)
    put(dv + at * DV, known, dva, DV, 0, V0)
    if K1 > 0:
        put(dk + at * DK, known, dkb, DK, K0, K1)
    if V1 > 0:
        put(dv + at * DV, known, dvb, DV, V0, V1)
