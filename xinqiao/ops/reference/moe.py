"""Mixture of experts: the router's choice, linear layers of many experts, gated experts and what they add up to."""

import torch
from torch import Tensor
from torch.nn.functional import silu

from xinqiao.errors import InputError
from xinqiao.formats.blocks import spread
from xinqiao.ops.reference import exact

Block = list[int]


def choose(
    logits: Tensor, bias: Tensor | None, top_k: int, groups: int, kept_groups: int, scoring: str
) -> Tensor:  # [tokens, top_k]
    """The best first; equal ones by index. A row of scores that holds a NaN counts as zeros."""
    scores = _scores(logits.float(), bias, scoring)
    grouped = scores.unflatten(-1, (groups, -1))
    best = grouped.sort(-1, descending=True).values
    two = bias is not None and best.shape[-1] > 1
    worth = best[..., 0] + best[..., 1] if two else best[..., 0]
    lost = (scores.isnan().any(-1) | worth.isnan().any(-1))[:, None]
    scores, worth = scores.masked_fill(lost, 0), worth.masked_fill(lost, 0)
    kept = torch.zeros_like(worth, dtype=torch.bool)
    kept.scatter_(-1, worth.argsort(dim=-1, descending=True, stable=True)[:, :kept_groups], value=True)
    order = scores.argsort(dim=-1, descending=True, stable=True)
    inside = kept.repeat_interleave(grouped.shape[-1], -1).gather(-1, order)
    return order.gather(-1, (~inside).to(torch.uint8).argsort(dim=-1, stable=True))[:, :top_k]


def _scores(logits: Tensor, bias: Tensor | None, scoring: str) -> Tensor:
    if scoring == "sigmoid":
        scores = exact.sigmoid(logits)
    elif bias is None:
        scores = logits  # in the order of their probabilities, and none is lost to underflow
    else:
        powers = exact.exp(logits - logits.amax(-1, keepdim=True))
        scores = powers / exact.total(powers)[..., None]
    return scores if bias is None else scores + bias.float()


def grouped_linear(
    x: Tensor, weight: Tensor, offsets: Tensor, bias: Tensor | None, scale: Tensor | None, block: Block
) -> Tensor:
    """Sums in fp32, or in fp64 for fp64; rounded once."""
    found = x.new_zeros(x.shape[0], weight.shape[1])
    for e, (start, end) in enumerate(spans(offsets, x.shape[0])):
        part = _product(x[start:end], weight[e], None if scale is None else scale[e], block)
        found[start:end] = part if bias is None else part + bias[e]
    return found


def grouped_linear_backward(
    grad: Tensor, x: Tensor, weight: Tensor, offsets: Tensor, scale: Tensor | None, block: Block, needed: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias; empty where `needed` says that one is not."""
    dx = torch.zeros_like(x) if needed[0] else x.new_empty(0)
    dweight = torch.zeros_like(weight) if needed[1] else x.new_empty(0)
    dbias = grad.new_zeros(weight.shape[:2]) if needed[2] else x.new_empty(0)
    for e, (start, end) in enumerate(spans(offsets, x.shape[0])):
        part = grad[start:end]
        if needed[0]:
            dx[start:end] = part @ _values(weight[e], None if scale is None else scale[e], block, x.dtype)
        if needed[1]:
            dweight[e] = part.T @ x[start:end]
        if needed[2]:
            dbias[e] = part.sum(0)
    return dx, dweight, dbias


def experts(
    x: Tensor,
    weights: Tensor,
    chosen: Tensor,
    gate_up: Tensor,
    down: Tensor,
    gate_up_scale: Tensor | None,
    down_scale: Tensor | None,
    block: Block,
) -> Tensor:
    """Each expert's hidden values and its result are rounded to x's dtype; the sum is fp32, in order of choice."""
    order, offsets = sort(chosen, gate_up.shape[0])
    hidden = x.new_zeros(len(order), down.shape[2])
    for e, (start, end) in enumerate(spans(offsets, len(order))):
        rows = x[order[start:end] // chosen.shape[1]]
        gate, up = _product(rows, gate_up[e], None if gate_up_scale is None else gate_up_scale[e], block).chunk(2, 1)
        hidden[start:end] = silu(gate) * up
    found = grouped_linear(hidden, down, offsets, None, down_scale, block)
    each = x.new_zeros(chosen.numel(), x.shape[1]).index_copy(0, order, found)
    return combine(each.view(*chosen.shape, x.shape[1]), weights, chosen >= 0)


def combine(each: Tensor, weights: Tensor, used: Tensor) -> Tensor:
    """[tokens, top_k, hidden] weighted and added from the first choice to the last; a product is rounded on its own."""
    wide = _wide(each.dtype)
    factors = weights.to(wide).masked_fill(~used, 0)
    total = each.new_zeros(each.shape[0], each.shape[2], dtype=wide)
    for j in range(each.shape[1]):
        total = total + factors[:, j, None] * each[:, j].to(wide)
    return total.to(each.dtype)


def experts_backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    chosen: Tensor,
    gate_up: Tensor,
    down: Tensor,
    gate_up_scale: Tensor | None,
    down_scale: Tensor | None,
    block: Block,
    needed: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weights, gate_up and down; empty where `needed` says that one is not."""
    wide, top_k = _wide(x.dtype), chosen.shape[1]
    order, offsets = sort(chosen, gate_up.shape[0])
    each = x.new_zeros(chosen.numel(), x.shape[1])
    dfactors = weights.new_zeros(chosen.numel(), dtype=wide)
    dgate_up = torch.zeros_like(gate_up) if needed[2] else x.new_empty(0)
    ddown = torch.zeros_like(down) if needed[3] else x.new_empty(0)
    for e, (start, end) in enumerate(spans(offsets, len(order))):
        if start == end:
            continue
        places = order[start:end]
        rows, part = x[places // top_k], grad[places // top_k]
        first = _values(gate_up[e], None if gate_up_scale is None else gate_up_scale[e], block, x.dtype)
        second = _values(down[e], None if down_scale is None else down_scale[e], block, x.dtype)
        gate, up = (rows @ first.T).to(wide).chunk(2, 1)
        opened = gate.sigmoid()
        hidden = (gate * opened * up).to(x.dtype)
        if needed[1]:
            dfactors[places] = (part.to(wide) * (hidden @ second.T).to(wide)).sum(1)
        part = (part.to(wide) * weights.view(-1, 1)[places].to(wide)).to(x.dtype)
        if needed[3]:
            ddown[e] = part.T @ hidden
        dhidden = (part @ second).to(wide)
        dgate = dhidden * up * opened * (1 + gate * (1 - opened))
        both = torch.cat((dgate, dhidden * gate * opened), 1).to(x.dtype)
        if needed[2]:
            dgate_up[e] = both.T @ rows
        each[places] = both @ first
    dx = each.view(*chosen.shape, x.shape[1]).to(wide).sum(1).to(x.dtype) if needed[0] else x.new_empty(0)
    return dx, dfactors.view_as(weights).to(weights.dtype), dgate_up, ddown


def sort(chosen: Tensor, experts: int) -> tuple[Tensor, Tensor]:
    """Places of `chosen`, flattened, that name an expert, by expert and then by place; and each expert's end there."""
    check_chosen(chosen, experts)
    flat = chosen.flatten()
    order = flat.argsort(stable=True)[int((flat < 0).sum()) :]
    return order, torch.bincount(flat[order], minlength=experts).cumsum(0)


def check_chosen(chosen: Tensor, experts: int) -> None:
    if chosen.numel():
        low, high = (int(found) for found in chosen.aminmax())
        if low < -1 or high >= experts:
            raise InputError(f"experts: chosen names experts {low} to {high}, expected -1 (none) to {experts - 1}")


def spans(offsets: Tensor, rows: int) -> list[tuple[int, int]]:
    """Each expert's rows, from its first up to its end."""
    ends = offsets.tolist()
    found = list(zip([0, *ends[:-1]], ends, strict=True))
    if any(not 0 <= start <= end <= rows for start, end in found):
        raise InputError(
            f"grouped_linear: offsets are {ends}, expected ends that grow from 0 to at most {rows} rows of x"
        )
    return found


def _product(x: Tensor, weight: Tensor, scale: Tensor | None, block: Block) -> Tensor:
    """x [m, k] times weight [n, k] transposed, not rounded to x's dtype."""
    wide = _wide(x.dtype)
    if weight.dtype != torch.int8 or scale is None:
        return x.to(wide) @ _values(weight, scale, block, wide).T
    each = x.to(wide).abs().amax(1, keepdim=True) / 127
    codes = (x.to(wide) / each).nan_to_num(0).round()
    return (codes.double() @ weight.double().T).to(wide) * each * scale.to(wide)  # the sum is exact in fp64


def _values(weight: Tensor, scale: Tensor | None, block: Block, dtype: torch.dtype) -> Tensor:
    if scale is None:
        return weight.to(dtype)
    if weight.dtype == torch.int8:
        return (weight.to(_wide(dtype)) * scale[:, None]).to(dtype)
    factors = (scale.view(torch.float8_e8m0fnu) if scale.dtype == torch.uint8 else scale).to(_wide(dtype))
    size = (weight.shape[0], weight.shape[1])
    return (weight.to(_wide(dtype)) * spread(factors, size, (block[0], block[1]))).to(dtype)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
