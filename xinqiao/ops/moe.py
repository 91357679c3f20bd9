"""Mixture of experts: a router, linear layers of many experts, and gated experts.

Sums are fp32 (fp64 where x is), in an order that depends on the back end and on how many tokens an expert has, and on
nothing else: what one token gets does not depend on the other tokens' values.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from xinqiao.errors import InputError, nearest
from xinqiao.ops.backend import kernel
from xinqiao.ops.register import Context, operator, unwatched
from xinqiao.ops.shapes import Sizes

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
INTEGERS = (torch.int64, torch.int32)
SCALES = (torch.float32, torch.float8_e8m0fnu, torch.uint8)
SCORINGS = ("sigmoid", "softmax")


def route(
    logits: Tensor,
    bias: Tensor | None = None,
    *,
    top_k: int,
    groups: int = 1,
    kept_groups: int = 1,
    scoring: str = "sigmoid",
    normalize: bool = True,
    scaling: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """The experts that each token takes and their weights, as DeepSeek-V3 defines it (arXiv 2412.19437, eq. 12 to 16).

    logits       [tokens, experts]
    bias         [experts], added to the scores for choosing only, or None
    top_k        experts of a token
    groups       experts are in this many groups of the same size, one after the other; only those of the `kept_groups`
                 best groups can be chosen: by the sum of a group's two highest biased scores, without a bias by its
                 highest score
    scoring      'sigmoid'; 'softmax', which without a bias chooses by the logits themselves
    normalize    weights are divided by their sum (plus 1e-20)
    scaling      of the weights, afterwards

    Returns weights [tokens, top_k], fp32 (fp64 for fp64), and experts, int64 [tokens, top_k], the best first. The
    choice is the same bit for bit on every back end: fp32 in the order of reference/exact.py, of equal scores the lower
    index, and a token whose scores hold a NaN chooses as if all were 0. It carries no gradient; the weights do.
    """
    sizes = Sizes("route")
    sizes.check("logits", logits, "tokens experts", FLOATS)
    if bias is not None:
        sizes.check("bias", bias, "experts", FLOATS)
    _check_rule(sizes["experts"], top_k, groups, kept_groups, scoring)
    plain = logits.detach(), None if bias is None else bias.detach()
    choose = _run_choose if unwatched(*plain) else _CHOOSE
    chosen = choose(*plain, top_k, groups, kept_groups, scoring)
    wide = logits.double() if logits.dtype == torch.float64 else logits.float()
    scores = wide.sigmoid() if scoring == "sigmoid" else wide.softmax(-1)
    weights = scores.gather(-1, chosen)
    if normalize:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return weights * scaling, chosen


def _check_rule(experts: int, top_k: int, groups: int, kept_groups: int, scoring: str) -> None:
    if scoring not in SCORINGS:
        raise InputError(f"route: no scoring {scoring!r}{nearest(scoring, SCORINGS)}; there are {', '.join(SCORINGS)}")
    if groups < 1 or experts % groups:
        raise InputError(f"route: groups = {groups}, expected a divisor of experts = {experts}")
    if not 1 <= kept_groups <= groups:
        raise InputError(f"route: kept_groups = {kept_groups}, expected 1 to groups = {groups}")
    if not 1 <= top_k <= experts // groups * kept_groups:
        inside = experts // groups * kept_groups
        raise InputError(f"route: top_k = {top_k}, expected 1 to the {inside} experts of the groups that are kept")


def load(chosen: Tensor, experts: int) -> Tensor:
    """How many places of `chosen` name each expert: int64 [experts]. -1 counts for none."""
    flat = chosen.flatten().long()
    counts = torch.zeros(experts + 1, dtype=torch.int64, device=chosen.device)
    return counts.scatter_add_(0, torch.where(flat < 0, experts, flat), torch.ones_like(flat))[:experts]


def update_bias(bias: Tensor, loads: Tensor, step: float) -> Tensor:
    """The router's bias after a step of training: up by `step` for experts below the mean load, down for those above.

    bias [experts]; loads [experts], as `load` counts them, summed over all processes that train together. Source: arXiv
    2408.15664, algorithm 1.
    """
    sizes = Sizes("update_bias")
    sizes.check("bias", bias, "experts", FLOATS)
    sizes.check("loads", loads, "experts")
    below = (loads.sum() - loads * sizes["experts"]).sign()  # whole numbers: exact, and on chips without fp64
    return bias + step * below.to(bias.dtype)


def grouped_linear(
    x: Tensor,
    weight: Tensor,
    offsets: Tensor,
    bias: Tensor | None = None,
    *,
    scale: Tensor | None = None,
    block: tuple[int, int] = (128, 128),
) -> Tensor:
    """Rows of x times their expert's weight, transposed: [m, n] in x's dtype.

    x        [m, k], sorted by expert
    weight   [experts, n, k]: x's dtype, float8_e4m3fn or int8
    offsets  [experts], int64 or int32: an expert's rows begin at the offset before its own and end before its own; rows
             from the last offset on give zeros
    bias     [experts, n], x's dtype
    scale    of float8_e4m3fn, one for each block of rows and columns of a weight: [experts, n / block[0], k / block[1]]
             rounded up, float32, float8_e8m0fnu or uint8 (UE8M0 bytes). Of int8: float32 [experts, n]; rows of x are
             then quantised too, scale max|x| / 127, ties to even, and the integer sum is exact for k below 133,000; a
             row with a NaN or an infinity gives NaN

    Gradients: x, bias and a weight of x's dtype; through int8 as if x had not been quantised.
    """
    sizes = Sizes("grouped_linear")
    sizes.check("x", x, "m k", FLOATS)
    _check_weight(sizes, "weight", weight, "experts n k", x.dtype)
    sizes.check("offsets", offsets, "experts", INTEGERS)
    if bias is not None:
        sizes.check("bias", bias, "experts n", (x.dtype,))
    _check_scale(sizes, "scale", scale, weight, block)
    run = _run_linear if unwatched(x, weight, offsets, bias, scale) else _LINEAR
    found: Tensor = run(x, weight, offsets, bias, scale, list(block))
    return found


def experts(
    x: Tensor,
    weights: Tensor,
    chosen: Tensor,
    gate_up: Tensor,
    down: Tensor,
    *,
    gate_up_scale: Tensor | None = None,
    down_scale: Tensor | None = None,
    block: tuple[int, int] = (128, 128),
) -> Tensor:
    """Σ_j weights[:, j] · down_e(silu(gate_e(x)) · up_e(x)) with e = chosen[:, j]: [tokens, hidden] in x's dtype.

    x        [tokens, hidden]
    weights  [tokens, top_k], a float
    chosen   [tokens, top_k], int64 or int32; -1: none
    gate_up  [experts, 2 · inner, hidden], the rows of the gate first
    down     [experts, hidden, inner]
    scales and block: as grouped_linear's

    An expert's hidden values and its result are rounded to x's dtype; the weighted sum is fp32 (fp64 for fp64), from
    the first choice to the last, rounded once. Gradients: x, weights, and gate_up and down of x's dtype.
    """
    sizes = Sizes("experts")
    sizes.check("x", x, "tokens hidden", FLOATS)
    sizes.check("weights", weights, "tokens top_k", FLOATS)
    sizes.check("chosen", chosen, "tokens top_k", INTEGERS)
    _check_weight(sizes, "gate_up", gate_up, "experts 2·inner hidden", x.dtype)
    _check_weight(sizes, "down", down, "experts hidden inner", x.dtype)
    if gate_up.shape[1] != 2 * down.shape[2]:
        raise InputError(
            f"experts: gate_up has shape {list(gate_up.shape)}, expected [experts, 2 · inner, hidden] with inner = "
            f"{down.shape[2]} (of down)"
        )
    _check_scale(sizes, "gate_up_scale", gate_up_scale, gate_up, block)
    _check_scale(sizes, "down_scale", down_scale, down, block)
    given = x, weights, chosen, gate_up, down, gate_up_scale, down_scale
    found: Tensor = (_run_experts if unwatched(*given) else _EXPERTS)(*given, list(block))
    return found


def _check_weight(sizes: Sizes, name: str, weight: Tensor, pattern: str, dtype: torch.dtype) -> None:
    sizes.check(name, weight, pattern, (dtype, torch.float8_e4m3fn, torch.int8))


def _check_scale(sizes: Sizes, name: str, scale: Tensor | None, weight: Tensor, block: Sequence[int]) -> None:
    needed = weight.dtype in (torch.float8_e4m3fn, torch.int8)
    if needed != (scale is not None):
        kind = str(weight.dtype).removeprefix("torch.")
        raise InputError(f"{sizes.operator}: {name} is {'missing' if needed else 'given'}, and weights are {kind}")
    if scale is None:
        return
    count, n, k = weight.shape
    if weight.dtype == torch.int8:
        return sizes.check(name, scale, f"{count} {n}", (torch.float32,))
    if len(block) != 2 or min(block) < 1:
        raise InputError(f"{sizes.operator}: block is {tuple(block)}, expected its rows and columns")
    return sizes.check(name, scale, f"{count} {-(-n // block[0])} {-(-k // block[1])}", SCALES)


def _run_choose(logits: Tensor, bias: Tensor | None, *rule: Any) -> Tensor:
    found: Tensor = kernel("moe", "choose", logits.device, torch.float32)(logits, bias, *rule)
    return found


def _run_linear(x: Tensor, *rest: Any) -> Tensor:
    found: Tensor = kernel("moe", "grouped_linear", x.device, x.dtype)(x, *rest)
    return found


def _run_experts(x: Tensor, *rest: Any) -> Tensor:
    found: Tensor = kernel("moe", "experts", x.device, x.dtype)(x, *rest)
    return found


def _run_linear_backward(grad: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = kernel("moe", "grouped_linear_backward", grad.device, grad.dtype)(
        grad, *rest
    )
    return found


def _run_experts_backward(grad: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    run = kernel("moe", "experts_backward", grad.device, grad.dtype)
    found: tuple[Tensor, Tensor, Tensor, Tensor] = run(grad, *rest)
    return found


def _keep(ctx: Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:-1])
    ctx.options = inputs[-1:]


def _linear_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, offsets, bias, scale = ctx.saved_tensors
    needed = [t is not None and t.requires_grad for t in (x, weight, bias)]
    found = _LINEAR_BACKWARD(grad, x, weight, offsets, scale, *ctx.options, needed)
    dx, dweight, dbias = (value if wanted else None for value, wanted in zip(found, needed, strict=True))
    return dx, dweight, None, dbias, None, None


def _experts_backward(ctx: Context, grad: Tensor) -> tuple[Tensor | None, ...]:
    needed = [ctx.saved_tensors[i].requires_grad for i in (0, 1, 3, 4)]
    found = _EXPERTS_BACKWARD(grad, *ctx.saved_tensors, *ctx.options, needed)
    dx, dweights, dgate_up, ddown = (value if wanted else None for value, wanted in zip(found, needed, strict=True))
    return dx, dweights, None, dgate_up, ddown, None, None, None


def _empties(needed: Sequence[bool], *like: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(t) if n else like[0].new_empty(0) for n, t in zip(needed, like, strict=True))


_CHOOSE = operator(
    "moe_choose(Tensor logits, Tensor? bias, int top_k, int groups, int kept_groups, str scoring) -> Tensor",
    _run_choose,
    lambda logits, bias, top_k, *rest: logits.new_empty(logits.shape[0], top_k, dtype=torch.int64),
)
_LINEAR_BACKWARD = operator(
    "grouped_linear_backward(Tensor grad, Tensor x, Tensor weight, Tensor offsets, Tensor? scale, int[] block, "
    "bool[] needed) -> (Tensor, Tensor, Tensor)",
    _run_linear_backward,
    lambda grad, x, weight, offsets, scale, block, needed: _empties(
        needed, x, weight, grad.new_empty(weight.shape[:2])
    ),
)
_LINEAR = operator(
    "grouped_linear(Tensor x, Tensor weight, Tensor offsets, Tensor? bias, Tensor? scale, int[] block) -> Tensor",
    _run_linear,
    lambda x, weight, *rest: x.new_empty(x.shape[0], weight.shape[1]),
    keep=_keep,
    backward=_linear_backward,
)
_EXPERTS_BACKWARD = operator(
    "experts_backward(Tensor grad, Tensor x, Tensor weights, Tensor chosen, Tensor gate_up, Tensor down, "
    "Tensor? gate_up_scale, Tensor? down_scale, int[] block, bool[] needed) -> (Tensor, Tensor, Tensor, Tensor)",
    _run_experts_backward,
    lambda grad, x, weights, chosen, gate_up, down, first, second, block, needed: _empties(
        needed, x, weights, gate_up, down
    ),
)
_EXPERTS = operator(
    "experts(Tensor x, Tensor weights, Tensor chosen, Tensor gate_up, Tensor down, Tensor? gate_up_scale, "
    "Tensor? down_scale, int[] block) -> Tensor",
    _run_experts,
    lambda x, *rest: x.new_empty(x.shape),
    keep=_keep,
    backward=_experts_backward,
)
