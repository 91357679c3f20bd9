"""Native sparse attention (arXiv 2502.11089): compressed keys, chosen blocks of keys, and a window, each with its gate.

    o = g_cmp · Attn(q, K_cmp, V_cmp) + g_slc · Attn(q, K_slc, V_slc) + g_win · Attn(q, K_win, V_win)

Each branch has its own keys and values. Every query head of a group takes the same blocks. Choices carry no gradient;
compression learns through the compressed branch.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from xinqiao.errors import InputError
from xinqiao.ops import backend
from xinqiao.ops.register import Context, operator
from xinqiao.ops.rules import PAPER, Choosing, Keys
from xinqiao.ops.shapes import Sizes

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
MOST = 32  # query heads of a key head


class Branch(NamedTuple):
    """keys: [batch, length, kv_heads, d_k]. values: [batch, length, kv_heads, d_v]."""

    keys: Tensor
    values: Tensor


def nsa_attention(
    q: Tensor,
    compressed: Branch,
    selected: Branch,
    window: Branch,
    gates: Tensor,
    *,
    rule: Choosing = PAPER,
    tokens: int = 512,
    scale: float | None = None,
    ends: Sequence[int] | None = None,
) -> Tensor:
    """Causal attention of every token: [batch, length, heads, d_v] in q's dtype.

    q           [batch, length, heads, d_k], fp32, bf16, fp16, or fp64 on the reference
    compressed  one row for each `rule.keys(length)` compressed keys; see `xinqiao.ops.compress`
    gates       [batch, length, heads, 3] or [batch, length, 1, 3], in the order compressed, selected, window
    rule        how blocks are chosen
    tokens      of the window, the query's own included
    scale       of the products; d_k^-1/2 by default
    ends        the sequences of a batch of 1 end before these rows, ascending: [3, 8] is one of 3 rows and one of 5

    A query that sees no compressed key gets 0 from that branch. A NaN in a query or key reaches the outputs of those
    that see it. InputError where shapes do not fit.
    """
    _check(q, (compressed, selected, window), gates, rule.checked("nsa_attention"), ends)
    if tokens < 1:
        raise InputError(f"nsa_attention: tokens = {tokens}, expected at least 1, the query's own")
    lengths = _lengths(q, ends)
    rows = sequences(lengths, lengths).to(q.device)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    flat = q.flatten(0, 1)
    sizes = [rule.length, rule.stride, rule.block, rule.blocks, rule.initial, rule.local]
    fewer = sequences(lengths, [rule.keys(n) for n in lengths]).to(q.device)
    weights = gates.expand(-1, -1, q.shape[2], 3).flatten(0, 1)
    branches = [t.flatten(0, 1) for branch in (compressed, selected, window) for t in branch]
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in (flat, weights, *branches))):
        out: Tensor = nsa_forward(flat, branches, weights, [fewer, rows], sizes, rule.importance, tokens, scale, [])
        return out.view(*q.shape[:2], *out.shape[1:])
    ck, cv, k, v, wk, wv = branches
    one, _, choice = nsa_compressed(flat, ck, cv, fewer, sizes, rule.importance, scale, None)
    two, _ = nsa_selected(flat, k, v, rows, choice, rule.block, scale, None)
    three, _ = nsa_window(flat, wk, wv, rows, tokens, scale, None)
    out = weights[..., :1] * one + weights[..., 1:2] * two + weights[..., 2:] * three
    return out.to(q.dtype).view(*q.shape[:2], *out.shape[1:])


def sequences(queries: Sequence[int], keys: Sequence[int], starts: Sequence[int] | None = None) -> Tensor:
    """int64 [n, 5] of sequences that lie one after the other: rows of q, rows of k, position of the first query."""
    found, q, k = [], 0, 0
    for count, held, start in zip(queries, keys, starts or [0] * len(queries), strict=True):
        found.append((q, count, k, held, start))
        q, k = q + count, k + held
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 5)


def _lengths(q: Tensor, ends: Sequence[int] | None) -> list[int]:
    if ends is None:
        return [q.shape[1]] * q.shape[0]
    return [b - a for a, b in zip((0, *ends), ends, strict=False)]


def _check(
    q: Tensor, branches: tuple[Branch, Branch, Branch], gates: Tensor, rule: Choosing, ends: Sequence[int] | None
) -> None:
    sizes = Sizes("nsa_attention")
    sizes.check("q", q, "batch length heads d_k", FLOATS)
    for name, branch, rows in zip(
        ("compressed", "selected", "window"), branches, ("compressed", "length", "length"), strict=True
    ):
        sizes.check(f"{name}.keys", branch.keys, f"batch {rows} kv_heads d_k", (q.dtype,))
        sizes.check(f"{name}.values", branch.values, f"batch {rows} kv_heads d_v", (q.dtype,))
    heads, groups = sizes["heads"], sizes["kv_heads"]
    if heads % groups or heads // groups > MOST:
        raise InputError(f"nsa_attention: {heads} heads over {groups} kv_heads, expected 1 to {MOST} for each")
    sizes.check("gates", gates, f"batch length {gates.shape[2] if gates.shape[2:3] == (1,) else 'heads'} 3")
    if ends is not None and (q.shape[0] != 1 or list(ends) != sorted(ends) or not ends or ends[-1] != q.shape[1]):
        raise InputError(f"nsa_attention: ends must rise to {q.shape[1]} rows of a batch of 1, got {list(ends)}")
    expected = sum(rule.keys(n) for n in _lengths(q, ends)) if ends is not None else rule.keys(q.shape[1])
    if sizes["compressed"] != expected:
        raise InputError(
            f"nsa_attention: compressed.keys has {sizes['compressed']} rows, expected {expected} by length "
            f"{rule.length} and stride {rule.stride}"
        )


def _rule(sizes: Sequence[int], importance: str) -> Choosing:
    length, stride, block, blocks, initial, local = sizes
    return Choosing(length, stride, block, blocks, initial, local, importance)


def _run_compressed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rows: Tensor,
    rule: Sequence[int],
    importance: str,
    scale: float,
    table: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    run = backend.kernel("nsa", "compressed", q.device, q.dtype)
    found: tuple[Tensor, Tensor, Tensor] = run(q, k, v, rows, _rule(rule, importance), scale, table)
    return found


def _run_selected(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, choice: Tensor, block: int, scale: float, table: Tensor | None
) -> tuple[Tensor, Tensor]:
    return _attend(q, k, v, rows, Keys(block=block), choice, scale, table)


def _run_window(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor, tokens: int, scale: float, table: Tensor | None
) -> tuple[Tensor, Tensor]:
    return _attend(q, k, v, rows, Keys(window=tokens), None, scale, table)


def _attend(q: Tensor, *others: object) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = backend.kernel("nsa", "attend", q.device, q.dtype)(q, *others)
    return found


def _run_backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    rows: Tensor,
    choice: Tensor | None,
    rule: Sequence[int],
    window: int,
    block: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    keys = _rule(rule, "overlap") if rule else Keys(window, block)
    run = backend.kernel("nsa", "attend_backward", q.device, q.dtype)
    found: tuple[Tensor, Tensor, Tensor] = run(gradient, q, k, v, out, lse, rows, keys, choice, scale)
    return found


def _results(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    exact = torch.float64 if q.dtype == torch.float64 else torch.float32
    return q.new_empty(*q.shape[:2], v.shape[-1]), q.new_empty(q.shape[:2], dtype=exact)


def _shapes_compressed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rows: Tensor,
    rule: Sequence[int],
    importance: str,
    scale: float,
    table: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    return *_results(q, v), q.new_empty(q.shape[0], k.shape[-2], rule[3], dtype=torch.int32)


def _shapes_attend(q: Tensor, k: Tensor, v: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return _results(q, v)


def _shapes_backward(gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


nsa_backward = operator(
    "nsa_backward(Tensor gradient, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor rows, Tensor? choice, "
    "int[] rule, int window, int block, float scale) -> (Tensor, Tensor, Tensor)",
    _run_backward,
    _shapes_backward,
)


def _keep_compressed(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, v, rows, rule, _, scale, _ = inputs
    out, lse, choice = output
    ctx.mark_non_differentiable(lse, choice)
    ctx.save_for_backward(q, k, v, out, lse, rows)
    ctx.options = (None, list(rule), 0, 0, scale)


def _keep_selected(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, v, rows, choice, block, scale, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(q, k, v, *output, rows, choice)
    ctx.options = ([], 0, block, scale)


def _keep_window(ctx: Context, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, v, rows, tokens, scale, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(q, k, v, *output, rows, None)
    ctx.options = ([], tokens, 64, scale)


def _backward_compressed(ctx: Context, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
    *tensors, rows = ctx.saved_tensors
    return *nsa_backward(gradient, *tensors, rows, *ctx.options), None, None, None, None, None


def _backward_attend(nones: int) -> Callable[..., tuple[Tensor | None, ...]]:
    def backward(ctx: Context, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        *tensors, rows, choice = ctx.saved_tensors
        return *nsa_backward(gradient, *tensors, rows, choice, *ctx.options), *[None] * nones

    return backward


nsa_compressed = operator(
    "nsa_compressed(Tensor q, Tensor k, Tensor v, Tensor rows, int[] rule, str importance, float scale, Tensor? table) "
    "-> (Tensor, Tensor, Tensor)",
    _run_compressed,
    _shapes_compressed,
    keep=_keep_compressed,
    backward=_backward_compressed,
)
nsa_selected = operator(
    "nsa_selected(Tensor q, Tensor k, Tensor v, Tensor rows, Tensor choice, int block, float scale, Tensor? table) "
    "-> (Tensor, Tensor)",
    _run_selected,
    _shapes_attend,
    keep=_keep_selected,
    backward=_backward_attend(5),
)
nsa_window = operator(
    "nsa_window(Tensor q, Tensor k, Tensor v, Tensor rows, int tokens, float scale, Tensor? table) -> (Tensor, Tensor)",
    _run_window,
    _shapes_attend,
    keep=_keep_window,
    backward=_backward_attend(4),
)


def _run_forward(
    q: Tensor,
    branches: Sequence[Tensor],
    gates: Tensor,
    sequences: Sequence[Tensor],
    rule: Sequence[int],
    importance: str,
    tokens: int,
    scale: float,
    tables: Sequence[Tensor],
) -> Tensor:
    run = backend.kernel("nsa", "forward", q.device, q.dtype)
    found: Tensor = run(q, branches, gates, sequences, _rule(rule, importance), tokens, scale, tables)
    return found


def _shapes_forward(q: Tensor, branches: Sequence[Tensor], *_: object) -> Tensor:
    return q.new_empty(*q.shape[:2], branches[1].shape[-1])


nsa_forward = operator(
    "nsa_forward(Tensor q, Tensor[] branches, Tensor gates, Tensor[] sequences, int[] rule, str importance, "
    "int tokens, float scale, Tensor[] tables) -> Tensor",
    _run_forward,
    _shapes_forward,
)
