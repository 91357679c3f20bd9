"""Native sparse attention in Triton: the arguments are those of `reference/nsa.py`."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from xinqiao.ops.reference.exact import LANES
from xinqiao.ops.rules import Choosing, Keys, offsets
from xinqiao.ops.triton import choose_kernels, fit, nsa_kernels
from xinqiao.ops.triton.launch import Launch, above, ceil, split

DTYPES = frozenset((torch.float32, torch.float16, torch.bfloat16))
BEYOND = 1 << 24  # first token or block of a program without one: after the last of any sequence
SCRATCH = 1 << 26  # logits that `choose` holds at once


def attend(
    q: Tensor, k: Tensor, v: Tensor, sequences: Tensor, keys: Keys | Choosing, choice: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    out = q.new_zeros(*q.shape[:2], v.shape[2])
    lse = q.new_full(q.shape[:2], -torch.inf)
    attend_launch(q.contiguous(), k.contiguous(), v.contiguous(), sequences, (keys, choice, scale), (out, lse)).run()
    return out, lse


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
    q, k, v, gradient = q.contiguous(), k.contiguous(), v.contiguous(), gradient.contiguous()
    given = {"gradient": gradient, "lse": lse.contiguous(), "inner": (out.float() * gradient.float()).sum(-1)}
    found = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for launch in backward_launches(q, k, v, sequences, (keys, choice, scale), given, found):
        launch.run()
    return found


Seen = tuple[Keys | Choosing, Tensor | None, float]  # keys, choice, scale


def attend_launch(
    q: Tensor, k: Tensor, v: Tensor, sequences: Tensor, seen: Seen, results: tuple[Tensor, Tensor]
) -> Launch:
    constants = _constants(q, k, v, seen)
    table = tiles(sequences[:, 1], constants["TOKENS"], q.shape[0])
    arguments = _arguments(q, k, v, sequences, seen) | {"table": table, "out": results[0], "lse": results[1]}
    return Launch(nsa_kernels.attend, (len(table), k.shape[1]), arguments, constants)


def backward_launches(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sequences: Tensor,
    seen: Seen,
    given: Mapping[str, Tensor],
    results: tuple[Tensor, Tensor, Tensor],
) -> list[Launch]:
    """Those of q's gradient, and of k's and v's."""
    constants, choice = _constants(q, k, v, seen), seen[1]
    common = _arguments(q, k, v, sequences, seen) | dict(given)
    table = tiles(sequences[:, 1], constants["TOKENS"], q.shape[0])
    first = Launch(
        nsa_kernels.attend_back_q, (len(table), k.shape[1]), common | {"table": table, "dq": results[0]}, constants
    )
    blocks = tiles(sequences[:, 3], constants["BLOCK"], k.shape[0])
    blocks[:, 1] //= constants["BLOCK"]
    takers, ends = (None, None) if choice is None else _takers(choice, sequences, blocks, constants["BLOCK"])
    del common["choice"]
    arguments = common | {"takers": takers, "ends": ends, "table": blocks, "dk": results[1], "dv": results[2]}
    grid = (len(blocks), k.shape[1], ceil(constants["BLOCK"], constants["TILE"]))
    return [first, Launch(nsa_kernels.attend_back_kv, grid, arguments, constants)]


def tiles(sizes: Tensor, step: int, total: int) -> Tensor:
    """int32 [n, 2]: sequence and first element of every piece of `step` of its elements. n is at least their number,
    known without waiting for the device; -1 and BEYOND in the rest. `total` is at least the sum of sizes."""
    pieces = (sizes + step - 1) // step
    ends = pieces.cumsum(0)
    place = torch.arange(total // step + len(sizes), device=sizes.device)
    sequence = torch.searchsorted(ends, place, right=True)
    inside = sequence < len(sizes)
    known = torch.where(inside, sequence, 0)
    first = (place - (ends - pieces)[known]) * step
    found = torch.stack([torch.where(inside, sequence, -1), torch.where(inside, first, BEYOND)], 1)
    return found.int()


def _takers(choice: Tensor, sequences: Tensor, blocks: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Rows that took a block, by key head and block, and where each one's rows begin: what `attend_back_kv` takes."""
    rows, kv_heads, taken = choice.shape
    sequence, first = tiles(sequences[:, 1], 1, rows).long().unbind(1)
    row = torch.where(sequence >= 0, sequences[sequence.clamp(min=0), 0] + first, rows)
    of_row = torch.full((rows + 1,), -1, device=choice.device).scatter(0, row, sequence)[:rows]
    pieces = (sequences[:, 3] + block - 1) // block
    base = (pieces.cumsum(0) - pieces)[of_row.clamp(min=0)]
    known = (choice >= 0) & (of_row >= 0)[:, None, None]
    head = torch.arange(kv_heads, device=choice.device)[:, None] * (len(blocks) + 1)
    nowhere = kv_heads * (len(blocks) + 1)
    where = torch.where(known, head + base[:, None, None] + choice, nowhere).flatten()
    ordered, order = where.sort(stable=True)
    places = torch.arange(nowhere + 1, device=choice.device)
    return order // (kv_heads * taken), torch.searchsorted(ordered, places)


def _arguments(q: Tensor, k: Tensor, v: Tensor, sequences: Tensor, seen: Seen) -> dict[str, Tensor | int | float | None]:
    choice = None if seen[1] is None else seen[1].contiguous()
    sizes = {"heads": q.shape[1], "kv_heads": k.shape[1], "scale": float(seen[2])}
    return {"q": q, "k": k, "v": v, "sequences": sequences.contiguous(), "choice": choice, **sizes}


def _constants(q: Tensor, k: Tensor, v: Tensor, seen: Seen) -> dict[str, int]:
    keys, choice, _ = seen
    group, chosen = q.shape[1] // k.shape[1], 0 if choice is None else choice.shape[2]
    d_k, d_v = q.shape[2], v.shape[2]
    rows, tile = fit.attention(group, d_k, d_v, q.dtype, q.device, chosen=bool(chosen))
    return {
        "CHOSEN": chosen,
        "BLOCK": keys.block if chosen else tile,
        "LENGTH": keys.length if isinstance(keys, Choosing) else 1,
        "STRIDE": keys.stride if isinstance(keys, Choosing) else 1,
        "WINDOW": 0 if isinstance(keys, Choosing) else keys.window,
        "GROUP": group,
        "TOKENS": 1 if chosen else rows // group,
        "DK": d_k,
        "DV": d_v,
        **dict(zip(("K0", "K1", "V0", "V1"), (*split(d_k), *split(d_v)), strict=True)),
        "ROWS": rows,
        "TILE": min(tile, above(keys.block)) if chosen else tile,
    }


def choose(q: Tensor, k: Tensor, sequences: Tensor, rule: Choosing, scale: float) -> Tensor:
    choice = torch.full((q.shape[0], k.shape[1], rule.blocks), -1, dtype=torch.int32, device=q.device)
    q, k = q.contiguous(), k.contiguous()
    for launch in choose_launches(q, k, sequences, rule, scale, choice):
        launch.run()
    return choice


def choose_launches(
    q: Tensor, k: Tensor, sequences: Tensor, rule: Choosing, scale: float, choice: Tensor
) -> Iterator[Launch]:
    """Logits, shares and choice of a part of the queries at a time, so that memory is linear in the length."""
    rows, heads, d = q.shape
    keys, kv_heads, _ = k.shape
    group, width = heads // kv_heads, ceil(keys, fit.EXACT) * fit.EXACT
    step = max(1, min(rows, SCRATCH // max(1, heads * width)))
    logits = torch.empty(step * heads * width, device=q.device)
    shares = torch.empty(step * kv_heads * width, device=q.device)
    of_row = tiles(sequences[:, 1], 1, rows)
    first, weights = zip(*offsets(rule), strict=True)
    common = {"sequences": sequences.contiguous(), "kv_heads": kv_heads, "width": width}
    seen = {"LENGTH": rule.length, "STRIDE": rule.stride}
    shape = {"GROUP": group, "ROWS": above(group), "TILE": fit.EXACT}
    times = torch.tensor(weights, dtype=torch.int32, device=q.device)
    for begin in range(0, len(of_row), step):
        table = of_row[begin : begin + step].contiguous()
        grid = (len(table), kv_heads)
        shared = common | {"table": table}
        arguments = shared | {"q": q, "k": k, "logits": logits, "scale": float(scale)}
        yield Launch(choose_kernels.logits, (*grid, width // fit.EXACT), arguments, {**shape, **seen, "D": d}, exact=True)
        arguments = shared | {"logits": logits, "shares": shares}
        yield Launch(choose_kernels.shares, grid, arguments, {**shape, **seen, "LANES": LANES}, exact=True)
        arguments = shared | {"shares": shares, "weights": times, "choice": choice, "first": first[0]}
        constants = {"BLOCK": rule.block, "STEP": rule.block // rule.stride, "OFFSETS": len(weights)}
        blocks = above(ceil(keys * rule.stride + rule.length, rule.block) + 1)
        constants |= {"TAKEN": rule.blocks, "INITIAL": rule.initial, "LOCAL": rule.local, "BLOCKS": blocks}
        yield Launch(choose_kernels.highest, grid, arguments, constants | seen, exact=True)
