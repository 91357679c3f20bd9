"""Mixture of experts in Triton: the arguments are those of `reference/moe.py`."""

import torch
from torch import Tensor
from torch.nn.functional import silu

from xinqiao.ops.reference.exact import LANES
from xinqiao.ops.reference.moe import Block, combine, experts_backward, sort
from xinqiao.ops.triton import moe_kernels
from xinqiao.ops.triton.launch import Arguments, Constants, Launch, above, ceil
from xinqiao.ops.triton.linear import Scaled, block_back_launch, block_launch, int8_launch, int8_rows_launch

__all__ = ["DTYPES", "choose", "experts", "experts_backward", "grouped_linear", "grouped_linear_backward"]
DTYPES = frozenset((torch.float32, torch.float16, torch.bfloat16))


def choose(
    logits: Tensor, bias: Tensor | None, top_k: int, groups: int, kept_groups: int, scoring: str
) -> Tensor:  # [tokens, top_k]
    chosen = torch.empty(len(logits), top_k, dtype=torch.int64, device=logits.device)
    choose_launch(logits.contiguous(), bias, chosen, (groups, kept_groups), scoring).run()
    return chosen


def choose_launch(logits: Tensor, bias: Tensor | None, chosen: Tensor, groups: tuple[int, int], scoring: str) -> Launch:
    experts = logits.shape[1]
    constants: Constants = {"EXPERTS": experts, "SIGMOID": scoring == "sigmoid", "GROUPS": groups[0], "KEPT": groups[1]}
    constants |= {"TOP": chosen.shape[1], "TILE": above(groups[0], 1), "EACH": above(experts // groups[0], 1)}
    arguments: Arguments = {"logits": logits, "bias": None if bias is None else bias.contiguous(), "chosen": chosen}
    return Launch(moe_kernels.choose, (len(logits),), arguments, constants | {"LANES": LANES}, exact=True)


def grouped_linear(
    x: Tensor, weight: Tensor, offsets: Tensor, bias: Tensor | None, scale: Tensor | None, block: Block
) -> Tensor:
    x, out = x.contiguous(), x.new_zeros(x.shape[0], weight.shape[1])
    if weight.dtype == torch.int8 and scale is not None:
        values, unit = torch.empty_like(x, dtype=torch.int8), torch.empty(len(x), device=x.device)
        int8_rows_launch(x, values, unit).run()
        int8_launch(values, unit, weight, scale, out, bias=bias, ends=offsets).run()
    else:
        block_launch(x, (weight, scale, (block[0], block[1])), out, bias=bias, ends=offsets).run()
    return out


def grouped_linear_backward(
    grad: Tensor, x: Tensor, weight: Tensor, offsets: Tensor, scale: Tensor | None, block: Block, needed: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    grad = grad.contiguous()
    dx = torch.zeros_like(x, memory_format=torch.contiguous_format) if needed[0] else x.new_empty(0)
    dweight = torch.empty_like(weight, memory_format=torch.contiguous_format) if needed[1] else x.new_empty(0)
    dbias = grad.new_zeros(weight.shape[:2]) if needed[2] else x.new_empty(0)
    if needed[0]:
        scaled: Scaled = (weight, scale, (block[0], block[1]))
        if weight.dtype == torch.int8 and scale is not None:
            scaled = (weight, scale.unsqueeze(-1), (1, weight.shape[2]))
        block_back_launch(grad, scaled, dx, ends=offsets).run()
    if needed[1] or needed[2]:
        weight_gradient_launch(
            grad, x.contiguous(), offsets, dweight if needed[1] else None, dbias if needed[2] else None
        ).run()
    return dx, dweight, dbias


def weight_gradient_launch(
    grad: Tensor, x: Tensor, ends: Tensor, dweight: Tensor | None, dbias: Tensor | None
) -> Launch:
    n, k = grad.shape[1], x.shape[1]
    arguments: Arguments = {"grad": grad, "x": x, "ends": ends, "dweight": dweight, "dbias": dbias, "n": n, "k": k}
    constants: Constants = {"TILE_M": 32, "TILE_N": 64, "TILE_K": 64}
    return Launch(moe_kernels.weight_gradient, (ceil(n, 64), ceil(k, 64), len(ends)), arguments, constants)


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
    order, offsets = sort(chosen, gate_up.shape[0])
    both = grouped_linear(x[order // chosen.shape[1]], gate_up, offsets, None, gate_up_scale, block)
    gate, up = both.float().chunk(2, 1)
    found = grouped_linear((silu(gate) * up).to(x.dtype), down, offsets, None, down_scale, block)
    each = x.new_zeros(chosen.numel(), x.shape[1]).index_copy(0, order, found)
    return combine(each.view(*chosen.shape, -1), weights, chosen >= 0)
