"""Kernels of mixtures of experts: the router's choice, and the gradient of weights."""

import triton
import triton.language as tl

from xinqiao.ops.triton.arithmetic import exp, first_highest, lane_total


@triton.jit
def ordered(x: tl.tensor) -> tl.tensor:
    """Whole numbers in the order of fp32, above the least int32; both zeros are one."""
    bits = (x + 0.0).to(tl.int32, bitcast=True)
    bits = tl.where(x == 0.0, 0, bits)
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@triton.jit
def choose(
    logits: tl.tensor,
    bias: tl.tensor,
    chosen: tl.tensor,
    EXPERTS: tl.constexpr,
    SIGMOID: tl.constexpr,
    GROUPS: tl.constexpr,
    KEPT: tl.constexpr,
    TOP: tl.constexpr,
    TILE: tl.constexpr,
    EACH: tl.constexpr,
    LANES: tl.constexpr,
) -> None:
    """chosen [tokens, TOP] of one token: the best first, equal ones by index.

    A tile is TILE groups of up to EACH experts. Launched with `exact`.
    """
    SIZE: tl.constexpr = EXPERTS // GROUPS
    LEAST: tl.constexpr = -2147483648
    row = logits + tl.program_id(0).to(tl.int64) * EXPERTS
    group, inner = tl.arange(0, TILE)[:, None], tl.arange(0, EACH)[None, :]
    expert = group * SIZE + inner
    known = (group < GROUPS) & (inner < SIZE)
    score = tl.load(row + expert, mask=known, other=0.0).to(tl.float32)
    if SIGMOID:
        score = tl.div_rn(tl.zeros([TILE, EACH], tl.float32) + 1.0, 1.0 + exp(-score))
    elif bias is not None:
        lost = tl.max(tl.max(tl.where(score == score, 0, 1), 1), 0)
        peak = tl.max(tl.max(tl.where(known, score, -float("inf")), 1), 0)
        peak = tl.where(lost == 1, float("nan"), peak)
        lanes = tl.zeros([LANES], tl.float32)
        for s in range(0, EXPERTS, LANES):
            at = s + tl.arange(0, LANES)
            x = tl.load(row + at, mask=at < EXPERTS, other=0.0).to(tl.float32)
            lanes += tl.where(at < EXPERTS, exp(x - peak), 0.0)
        score = tl.div_rn(exp(score - peak), lane_total(lanes, LANES)[None, :])
    if bias is not None:
        score += tl.load(bias + expert, mask=known, other=0.0).to(tl.float32)
    score = tl.where(known, score, -float("inf"))
    best = first_highest(ordered(score), inner, EACH)
    worth = tl.max(score, 1)
    if bias is not None and SIZE > 1:
        worth += tl.max(tl.where(inner == best[:, None], -float("inf"), score), 1)
    bad = tl.max(tl.max(tl.where(known & (score != score), 1, 0), 1), 0)
    bad = tl.maximum(bad, tl.max(tl.where((tl.arange(0, TILE) < GROUPS) & (worth != worth), 1, 0), 0))
    rank = tl.where(known, tl.where(bad == 1, 0, ordered(score)), LEAST)
    value = tl.where(tl.arange(0, TILE) < GROUPS, tl.where(bad == 1, 0, ordered(worth)), LEAST)
    kept = tl.zeros([TILE], tl.int32)
    for _ in range(KEPT):
        taken = tl.arange(0, TILE) == first_highest(value, tl.arange(0, TILE), TILE)
        kept = tl.where(taken, 1, kept)
        value = tl.where(taken, LEAST, value)
    rank = tl.where(kept[:, None] == 1, rank, LEAST)
    for i in range(TOP):
        highest = tl.max(tl.max(rank, 1), 0)
        first = tl.min(tl.min(tl.where(rank == highest, expert, EXPERTS), 1), 0)
        tl.store(chosen + tl.program_id(0).to(tl.int64) * TOP + i, first.to(tl.int64))
        rank = tl.where(expert == first, LEAST, rank)


@triton.jit
def weight_gradient(
    grad: tl.tensor,
    x: tl.tensor,
    ends: tl.tensor,
    dweight: tl.tensor,
    dbias: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    TILE_M: tl.constexpr,
    TILE_N: tl.constexpr,
    TILE_K: tl.constexpr,
) -> None:
    """dweight [experts, n, k] = gradᵀ · x over an expert's rows, dbias [experts, n] = their sum."""
    expert = tl.program_id(2)
    begin = tl.load(ends + expert - 1, mask=expert > 0, other=0).to(tl.int64)
    end = tl.load(ends + expert).to(tl.int64)
    row = tl.program_id(0) * TILE_N + tl.arange(0, TILE_N)
    column = tl.program_id(1) * TILE_K + tl.arange(0, TILE_K)
    rows, columns = row < n, column < k
    total = tl.zeros([TILE_N, TILE_K], tl.float32)
    sums = tl.zeros([TILE_N], tl.float32)
    for s in range(begin, end, TILE_M):
        at = s + tl.arange(0, TILE_M)
        a = tl.load(grad + at[:, None] * n + row[None, :], mask=(at < end)[:, None] & rows[None, :], other=0.0)
        b = tl.load(x + at[:, None] * k + column[None, :], mask=(at < end)[:, None] & columns[None, :], other=0.0)
        total += tl.dot(tl.trans(a), b, input_precision="ieee")
        sums += tl.sum(a.to(tl.float32), 0)
    place = expert.to(tl.int64) * n + row
    mask = rows[:, None] & columns[None, :]
    if dweight is not None:
        tl.store(dweight + place[:, None] * k + column[None, :], total.to(dweight.dtype.element_ty), mask=mask)
    if dbias is not None and tl.program_id(1) == 0:
        tl.store(dbias + place, sums.to(dbias.dtype.element_ty), mask=rows)
