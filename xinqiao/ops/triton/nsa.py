"""Native sparse attention in Triton: the arguments are those of `reference/nsa.py`."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from xinqiao.ops.reference.exact import LANES
from xinqiao.ops.rules import Choosing, Keys, offsets
from xinqiao.ops.triton import choose_kernels, fit, nsa_kernels
from xinqiao.ops.triton.launch import Arguments, Constants, Launch, above, ceil, split

DTYPES = frozenset((torch.float32, torch.float16, torch.bfloat16))
BEYOND = 1 << 24  # first token or block of a program without one: after the last of any sequence
SCRATCH = 1 << 26  # logits that `choose` holds at once


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
    """table: int32 [sequences, pages]; k and v are then pages, [pages, tokens of a page, kv_heads, d]."""
    out = q.new_zeros(*q.shape[:2], v.shape[-1])
    lse = torch.full(q.shape[:2], -torch.inf, device=q.device)
    seen = keys, choice, scale
    attend_launch(q.contiguous(), k.contiguous(), v.contiguous(), sequences, seen, (out, lse), table).run()
    return out, lse


def compressed(
    q: Tensor, k: Tensor, v: Tensor, sequences: Tensor, rule: Choosing, scale: float, table: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    out, lse = attend(q, k, v, sequences, rule, None, scale, table)
    return out, lse, choose(q, k, sequences, rule, scale, table)


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
    fewer, rows = tables or (None, None)
    ck, cv, k, v, wk, wv = branches
    one, _, choice = compressed(q, ck, cv, sequences[0], rule, scale, fewer)
    total = gates[..., :1].float() * one.float()
    two, _ = attend(q, k, v, sequences[1], Keys(block=rule.block), choice, scale, rows)
    total += gates[..., 1:2].float() * two.float()
    three, _ = attend(q, wk, wv, sequences[1], Keys(window=tokens), None, scale, rows)
    return (total + gates[..., 2:].float() * three.float()).to(q.dtype)


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
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sequences: Tensor,
    seen: Seen,
    results: tuple[Tensor, Tensor],
    table: Tensor | None = None,
) -> Launch:
    constants = _constants(q, k, v, seen)
    parts = tiles(sequences[:, 1], constants["TOKENS"], q.shape[0])
    pages, paged = _pages(k, table)
    arguments = _arguments(q, k, v, sequences, seen) | {"out": results[0], "lse": results[1], "parts": parts} | pages
    return Launch(nsa_kernels.attend, (len(parts), k.shape[-2]), arguments, constants | paged)


def _pages(k: Tensor, table: Tensor | None) -> tuple[Arguments, Constants]:
    if table is None:
        return {"pages": None}, {"PAGES": 0, "PAGE": 0}
    return {"pages": table.contiguous()}, {"PAGES": table.shape[1], "PAGE": k.shape[1]}


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
    constants, choice = _constants(q, k, v, seen, "attend_back"), seen[1]
    common = _arguments(q, k, v, sequences, seen) | dict(given)
    parts = tiles(sequences[:, 1], constants["TOKENS"], q.shape[0])
    first = Launch(
        nsa_kernels.attend_back_q, (len(parts), k.shape[1]), common | {"parts": parts, "dq": results[0]}, constants
    )
    blocks = tiles(sequences[:, 3], constants["BLOCK"], k.shape[0])
    blocks[:, 1] //= constants["BLOCK"]
    takers, ends = (None, None) if choice is None else _takers(choice, sequences, blocks, constants["BLOCK"])
    del common["choice"]
    arguments = common | {"takers": takers, "ends": ends, "parts": blocks, "dk": results[1], "dv": results[2]}
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


def _arguments(
    q: Tensor, k: Tensor, v: Tensor, sequences: Tensor, seen: Seen
) -> dict[str, Tensor | int | float | None]:
    choice = None if seen[1] is None else seen[1].contiguous()
    sizes = {"heads": q.shape[1], "kv_heads": k.shape[-2], "scale": float(seen[2])}
    return {"q": q, "k": k, "v": v, "sequences": sequences.contiguous(), "choice": choice, **sizes}


def _constants(q: Tensor, k: Tensor, v: Tensor, seen: Seen, kernel: str = "attend") -> dict[str, int]:
    keys, choice, _ = seen
    group, chosen = q.shape[1] // k.shape[-2], 0 if choice is None else choice.shape[2]
    d_k, d_v = q.shape[2], v.shape[-1]
    rows, tile = fit.attention(kernel, group, (d_k, d_v), q.dtype, q.device, chosen=bool(chosen))
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


def choose(
    q: Tensor, k: Tensor, sequences: Tensor, rule: Choosing, scale: float, table: Tensor | None = None
) -> Tensor:
    choice = torch.full((q.shape[0], k.shape[-2], rule.blocks), -1, dtype=torch.int32, device=q.device)
    for launch in choose_launches(q.contiguous(), k.contiguous(), sequences, (rule, table, scale), choice):
        launch.run()
    return choice


def choose_launches(
    q: Tensor, k: Tensor, sequences: Tensor, ruled: tuple[Choosing, Tensor | None, float], choice: Tensor
) -> Iterator[Launch]:
    """Logits, shares and choice of a part of the queries at a time, so that memory is linear in the length."""
    rule, table, scale = ruled
    rows, heads, d = q.shape
    kv_heads, keys = k.shape[-2], k.shape[0] if table is None else table.shape[1] * k.shape[1]
    tile = fit.scores(heads // kv_heads, d, q.device)
    width = ceil(keys, tile) * tile
    step = max(1, min(rows, SCRATCH // max(1, heads * width)))
    logits = torch.empty(step, heads, width, device=q.device)
    shares = torch.empty(step, kv_heads, width, device=q.device)
    pages, paged = _pages(k, table)
    common: Arguments = {"sequences": sequences.contiguous(), "kv_heads": kv_heads, "width": width}
    seen: Constants = {"LENGTH": rule.length, "STRIDE": rule.stride}
    group = seen | {"GROUP": heads // kv_heads, "TILE": tile}
    first = seen | {"ROWS": above(heads // kv_heads), "D": d}
    score = choosing(rule, keys, q.device)
    of_row = tiles(sequences[:, 1], 1, rows)
    for begin in range(0, len(of_row), step):
        parts = of_row[begin : begin + step].contiguous()
        grid, shared = (len(parts), kv_heads), common | {"parts": parts}
        given: Arguments = shared | pages | {"q": q, "k": k, "logits": logits, "scale": float(scale)}
        yield Launch(choose_kernels.logits, (*grid, width // tile), given, group | paged | first, exact=True)
        given = shared | {"logits": logits, "shares": shares}
        yield Launch(choose_kernels.shares, grid, given, group | {"LANES": LANES}, exact=True)
        given = shared | score[0] | {"shares": shares, "choice": choice}
        yield Launch(choose_kernels.highest, grid, given, seen | score[1], exact=True)


def choosing(rule: Choosing, keys: int, device: torch.device) -> tuple[Arguments, Constants]:
    """Arguments and constants of `highest` that come from the rule."""
    first, weights = zip(*offsets(rule), strict=True)
    tokens = keys * rule.stride + rule.length
    constants: Constants = {"BLOCK": rule.block, "STEP": rule.block // rule.stride, "OFFSETS": len(weights)}
    constants |= {"TAKEN": rule.blocks, "INITIAL": rule.initial, "LOCAL": rule.local}
    times = torch.tensor(weights, dtype=torch.int32, device=device)
    return {"weights": times, "first": first[0]}, constants | {"BLOCKS": above(ceil(tokens, rule.block))}
