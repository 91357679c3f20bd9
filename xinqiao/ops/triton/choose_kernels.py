"""The blocks that a query takes, in the arithmetic of `reference/exact.py`. All are launched with `exact`."""

import triton
import triton.language as tl

from xinqiao.ops.triton.arithmetic import exp, first_highest, lane_total
from xinqiao.ops.triton.attention_tiles import last_key
from xinqiao.ops.triton.nsa_kernels import key_rows, placed


@triton.jit
def logits(
    q: tl.tensor,
    k: tl.tensor,
    sequences: tl.tensor,
    parts: tl.tensor,
    pages: tl.tensor,
    logits: tl.tensor,
    scale: tl.tensor,
    kv_heads: tl.tensor,
    width: tl.tensor,
    LENGTH: tl.constexpr,
    STRIDE: tl.constexpr,
    PAGES: tl.constexpr,
    PAGE: tl.constexpr,
    GROUP: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """logits [places, kv_heads, GROUP, width] of one query and TILE keys: fma over d in order, then times scale."""
    head = tl.program_id(1)
    sequence, first, q0, rows, k0, count, start = placed(parts, sequences)
    key = tl.program_id(2) * TILE + tl.arange(0, TILE)
    last = tl.where(first < rows, tl.minimum(last_key(start + first, LENGTH, STRIDE), count - 1), -1)
    if tl.program_id(2) * TILE <= last:
        g = tl.arange(0, ROWS)
        live, known = g < GROUP, key <= last
        line = ((q0 + first) * kv_heads + head) * GROUP + g
        at = key_rows(key, known, k0, sequence, pages, PAGES, PAGE) * kv_heads + head
        found = tl.zeros([ROWS, TILE], tl.float32)
        for i in range(D):
            a = tl.load(q + line * D + i, mask=live, other=0.0).to(tl.float32)
            b = tl.load(k + at * D + i, mask=known, other=0.0).to(tl.float32)
            a, b = tl.broadcast(a[:, None], b[None, :])
            found = tl.fma(a, b, found)
        place = (tl.program_id(0).to(tl.int64) * kv_heads + head) * GROUP + g
        tl.store(logits + place[:, None] * width + key[None, :], found * scale, mask=live[:, None] & known[None, :])


@triton.jit
def shares(
    logits: tl.tensor,
    shares: tl.tensor,
    sequences: tl.tensor,
    parts: tl.tensor,
    kv_heads: tl.tensor,
    width: tl.tensor,
    LENGTH: tl.constexpr,
    STRIDE: tl.constexpr,
    GROUP: tl.constexpr,
    TILE: tl.constexpr,
    LANES: tl.constexpr,
) -> None:
    """shares [places, kv_heads, width]: softmax of every head, summed over the group from the first head on."""
    head = tl.program_id(1)
    _sequence, first, _q0, rows, _k0, count, start = placed(parts, sequences)
    last = tl.where(first < rows, tl.minimum(last_key(start + first, LENGTH, STRIDE), count - 1), -1)
    place = tl.program_id(0).to(tl.int64) * kv_heads + head
    column = tl.arange(0, TILE)
    lane = tl.arange(0, LANES)
    for h in range(GROUP):
        row = logits + (place * GROUP + h) * width
        high = tl.full([TILE], -float("inf"), tl.float32)
        lost = tl.zeros([TILE], tl.int32)
        for s in range(0, last + 1, TILE):
            x = tl.load(row + s + column, mask=s + column <= last, other=-float("inf"))
            high = tl.maximum(high, x)
            lost = tl.where(x == x, lost, 1)
        peak = tl.where(tl.max(lost, 0) == 1, float("nan"), tl.max(high, 0))
        lanes = tl.zeros([LANES], tl.float32)
        for s in range(0, last + 1, LANES):
            x = tl.load(row + s + lane, mask=s + lane <= last, other=0.0)
            lanes += tl.where(s + lane <= last, exp(x - peak), 0.0)
        by = tl.div_rn(tl.full([1], 1.0, tl.float32), lane_total(lanes, LANES))
        to = shares + place * width + column
        for s in range(0, last + 1, TILE):
            seen = s + column <= last
            x = tl.load(row + s + column, mask=seen, other=0.0)
            before = tl.load(to, mask=seen & (h > 0), other=0.0)
            tl.store(to, before + exp(x - peak) * by, mask=seen)
            to += TILE  # not every compiler takes a loop that hands nothing on


@triton.jit
def highest(
    shares: tl.tensor,
    weights: tl.tensor,
    choice: tl.tensor,
    sequences: tl.tensor,
    parts: tl.tensor,
    kv_heads: tl.tensor,
    width: tl.tensor,
    first: tl.tensor,
    LENGTH: tl.constexpr,
    STRIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    OFFSETS: tl.constexpr,
    TAKEN: tl.constexpr,
    INITIAL: tl.constexpr,
    LOCAL: tl.constexpr,
    BLOCKS: tl.constexpr,
) -> None:
    """choice [rows, kv_heads, TAKEN], ascending, then -1. A block's score is the weighted sum of the shares of the keys
    at STEP · block + first and the OFFSETS - 1 after it."""
    head = tl.program_id(1)
    _sequence, token, q0, rows, _k0, count, start = placed(parts, sequences)
    if token < rows:
        last = tl.minimum(last_key(start + token, LENGTH, STRIDE), count - 1)
        row = shares + (tl.program_id(0).to(tl.int64) * kv_heads + head) * width
        block = tl.arange(0, BLOCKS)
        own = (start + token) // BLOCK
        score = tl.zeros([BLOCKS], tl.float32)
        for i in range(OFFSETS):
            at = block * STEP + first + i
            share = tl.load(row + at, mask=(at >= 0) & (at <= last), other=0.0)
            score = score + share * tl.load(weights + i).to(tl.float32)
        lost = tl.zeros([BLOCKS], tl.int32)
        for s in range(0, last + 1, BLOCKS):
            share = tl.load(row + s + block, mask=s + block <= last, other=0.0)
            lost = tl.where(share == share, lost, 1)
        score = tl.where(tl.max(lost, 0) == 1, 0.0, score)
        forced = (block < INITIAL) | (block > own - LOCAL)
        ranked = tl.where(block > own, -1.0, tl.where(forced, float("inf"), score))
        taken = tl.zeros([BLOCKS], tl.int32)
        for _ in range(TAKEN):
            best = first_highest(ranked, block, BLOCKS)
            found = (block == best) & (ranked >= 0.0)
            taken = tl.where(found, 1, taken)
            ranked = tl.where(found, -1.0, ranked)
        place = tl.cumsum(taken, 0) - 1
        to = choice + ((q0 + token) * kv_heads + head) * TAKEN
        tl.store(to + place, block, mask=taken == 1)
