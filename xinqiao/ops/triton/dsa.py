"""DeepSeek-V3.2's sparse attention in Triton: the arguments are those of `reference/dsa.py`."""

import torch
from torch import Tensor

from xinqiao.ops.reference.dsa import choose, factors, visible
from xinqiao.ops.triton import dsa_kernels, fit
from xinqiao.ops.triton.launch import Arguments, Constants, Launch, above, ceil, split

DTYPES = frozenset((torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn))
SCRATCH = 1 << 26  # scores that `dsa_index` holds at once


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
    """Scores by a kernel; the highest by a stable sort, of which every device gives the same."""
    given = weights.float() if q_scale is None else weights.float() * factors(q_scale)
    batch, length = q.shape[:2]
    keys = _keys(k, table)
    scales = None
    if k_scale is not None:
        scales = factors(k_scale if table is None else k_scale[table.long()].flatten(1, 2))[:, None]
    seen = visible(start, length, keys)
    step = max(1, min(length, SCRATCH // max(1, batch * keys)))
    found = torch.empty(batch, length, top_k, dtype=torch.int32, device=q.device)
    for first in range(0, length, step):
        scores = torch.zeros(batch, min(step, length - first), keys, device=q.device)
        index_launch(q.contiguous(), k.contiguous(), given.contiguous(), (table, start), scores, first).run()
        scores = scores if scales is None else scores * scales
        some = slice(first, first + scores.shape[1])
        found[:, some] = choose(scores, seen[:, some], top_k)
    return found


def index_launch(
    q: Tensor, k: Tensor, weights: Tensor, place: tuple[Tensor | None, Tensor], scores: Tensor, first: int
) -> Launch:
    """place: the block table, and the positions of the first queries."""
    _, length, heads, d = q.shape
    keys, tile = scores.shape[2], fit.scores(heads, d, q.device)
    fp8 = [x.dtype == torch.float8_e4m3fn for x in (q, k)]
    q, k = (x.view(torch.uint8) if narrow else x for x, narrow in zip((q, k), fp8, strict=True))
    arguments: Arguments = {"q": q, "k": k, "weights": weights, "table": place[0], "start": place[1], "scores": scores}
    arguments |= {"length": length, "keys": keys, "first": first}
    constants: Constants = {"Q_BYTES": fp8[0], "K_BYTES": fp8[1], "PAGE": 0 if place[0] is None else k.shape[1]}
    constants |= {"HEADS": heads, "D": d, "ROWS": above(heads), "TILE": tile}
    grid = (ceil(keys, tile), scores.shape[1], scores.shape[0])
    return Launch(dsa_kernels.scores, grid, arguments, constants, exact=True)


def dsa_attention(
    q: Tensor,
    latent: Tensor,
    choice: Tensor | None,
    table: Tensor | None,
    start: Tensor,
    d_v: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    out = torch.empty(*q.shape[:3], d_v, dtype=q.dtype, device=q.device)
    lse = torch.empty(q.shape[:3], device=q.device)
    attention_launch(q.contiguous(), latent.contiguous(), (choice, table, start), (out, lse), scale).run()
    return out, lse


Where = tuple[Tensor | None, Tensor | None, Tensor]  # choice, block table, positions of the first queries


def attention_launch(q: Tensor, latent: Tensor, where: Where, results: tuple[Tensor, Tensor], scale: float) -> Launch:
    arguments, constants, grid = _shared("attend", q, latent, where, (results[0].shape[-1], scale))
    return Launch(dsa_kernels.attend, grid, arguments | {"out": results[0], "lse": results[1]}, constants)


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
    inner = (grads[0].float() * results[0].float()).sum(-1) - grads[1].float()
    found = torch.empty_like(q, memory_format=torch.contiguous_format), torch.zeros(latent.shape, device=q.device)
    given = {"gradient": grads[0].contiguous(), "lse": results[1].contiguous(), "inner": inner}
    backward_launch(q.contiguous(), latent.contiguous(), (choice, table, start), given, found, scale).run()
    return found[0], found[1].to(latent.dtype)


def backward_launch(
    q: Tensor, latent: Tensor, where: Where, given: dict[str, Tensor], found: tuple[Tensor, Tensor], scale: float
) -> Launch:
    d_v = given["gradient"].shape[-1]
    arguments, constants, grid = _shared("attend_back_added", q, latent, where, (d_v, scale))
    arguments |= given | {"dq": found[0], "dlatent": found[1]}
    return Launch(dsa_kernels.attend_back, grid, arguments, constants)


def _keys(cache: Tensor, table: Tensor | None) -> int:
    return cache.shape[1] if table is None else table.shape[1] * cache.shape[1]


def _shared(
    kernel: str, q: Tensor, latent: Tensor, where: Where, options: tuple[int, float]
) -> tuple[Arguments, Constants, tuple[int, ...]]:
    batch, length, heads, d = q.shape
    (choice, table, start), (d_v, scale) = where, options
    rows, tile = fit.latent(kernel, heads, (d, d_v), q.dtype, q.device)
    arguments: Arguments = {
        "q": q,
        "latent": latent,
        "choice": None if choice is None else choice.contiguous(),
        "table": table,
    }
    arguments |= {"start": start, "scale": float(scale), "length": length, "keys": _keys(latent, table)}
    widths = dict(zip(("K0", "K1", "V0", "V1"), (*split(d), *split(d_v)), strict=True))
    constants: Constants = {
        "PAGE": 0 if table is None else latent.shape[1],
        "CHOSEN": 0 if choice is None else choice.shape[2],
    }
    constants |= {"HEADS": heads, "D": d, "DV": d_v, "ROWS": rows, "TILE": tile} | widths
    return arguments, constants, (length, ceil(heads, rows), batch)
