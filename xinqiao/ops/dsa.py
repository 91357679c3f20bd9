"""Sparse attention as DeepSeek-V3.2 has it: an indexer chooses tokens, MLA attends to their latents.

Layout [batch, length, heads, d]. A cache is [batch, tokens, d]; or pages [pages, tokens of a page, d] and a block table
[batch, pages of a sequence] that says which page holds tokens 0, 1, … of each sequence.
"""

import math
from typing import Any

import torch
from torch import Tensor

from xinqiao.errors import InputError
from xinqiao.formats.scales import power_of_two
from xinqiao.ops import backend, register
from xinqiao.ops.shapes import Sizes

INDEXED = (torch.float8_e4m3fn, torch.bfloat16, torch.float16, torch.float32, torch.float64)
SCALES = (torch.float32, torch.float8_e8m0fnu, torch.uint8)
ATTENDED = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
WHOLE = (torch.int32, torch.int64)


def dsa_index(
    q: Tensor,
    k: Tensor,
    weights: Tensor,
    q_scale: Tensor | None = None,
    k_scale: Tensor | None = None,
    *,
    top_k: int = 2048,
    start: int | Tensor = 0,
    table: Tensor | None = None,
) -> Tensor:
    """The tokens that each query attends to, int32 [batch, length, top_k]: ascending, then -1 where there are fewer.

    Token j's score is k_scale_j · Σ_h weights_h · q_scale_h · ReLU(q_h · k_j). Chosen are the `top_k` highest among the
    tokens up to the query's own; the lower token wins a tie; a query that sees a score of NaN chooses as if all were 0.
    Where a query sees `top_k` tokens or fewer, it gets all of them and nothing is computed for it.

    Computed in fp32 in a stated order, so that every device chooses the same: operands are widened (float64: rounded);
    products of q and k are added from the first of d to the last and heads from the first to the last, each by a fused
    multiply-add from 0; weights_h · q_scale_h and the product by k_scale are rounded. No gradient.

    q        [batch, length, heads, d]; float8_e4m3fn, bfloat16, float16, float32 or float64
    k        [batch, tokens, d], or pages; the same dtypes
    weights  [batch, length, heads], any float dtype; DeepSeek's are scaled by heads^-0.5 · d^-0.5
    q_scale  [batch, length, heads], float32, float8_e8m0fnu or the latter's bytes as uint8
    k_scale  [batch, tokens], or pages of them; the same dtypes
    start    position of the first query: query i sees tokens 0 … start + i; one for all, or int [batch]
    table    int32 or int64 block table; k and k_scale are then pages

    Source: `Indexer` and `fp8_index` of DeepSeek-V3.2-Exp's inference code.
    """
    sizes = Sizes("dsa_index")
    sizes.check("q", q, "batch length heads d", INDEXED)
    sizes.check("k", k, _cache(table), INDEXED)
    sizes.check("weights", weights, "batch length heads", ATTENDED)
    if q_scale is not None:
        sizes.check("q_scale", q_scale, "batch length heads", SCALES)
    if k_scale is not None:
        sizes.check("k_scale", k_scale, _cache(table).removesuffix(" d"), SCALES)
    if top_k < 1:
        raise InputError(f"dsa_index: top_k is {top_k}, expected 1 or more")
    kept, first = _table(sizes, table), _start(sizes, start, q)
    found: Tensor = _index(q, k, weights, q_scale, k_scale, kept, first, top_k)
    return found


def dsa_attention(
    q: Tensor,
    latent: Tensor,
    choice: Tensor | None,
    *,
    d_v: int = 512,
    scale: float | None = None,
    start: int | Tensor = 0,
    table: Tensor | None = None,
) -> Tensor:
    """MLA with absorbed projections at the chosen tokens: softmax(scale · q · latentᵀ) · latent[..., :d_v].

    Returns [batch, length, heads, d_v] of q's dtype. Sums are fp32 (float64 for float64); bfloat16 probabilities may be
    rounded to bfloat16 before they meet the values. Differentiable in q and latent. A query without a token gets zeros.
    NaN and infinities spread as in softmax, to the queries that attend to them.

    q       [batch, length, heads, d]; float32, bfloat16, float16 or float64; d is 512 + 64 for DeepSeek-V3.2
    latent  [batch, tokens, d], or pages; q's dtype
    choice  int32 or int64 [batch, length, n], of `dsa_index`; what is not in 0 … tokens - 1 is passed over, and a token
            that is named twice counts twice. None: every token up to the query's own, which is what a choice of
            `top_k` tokens is while there are no more than that
    scale   of the products; d^-0.5 if None. DeepSeek's is (128 + 64)^-0.5, of the heads before absorption
    start   position of the first query; needed where choice is None
    table   int32 or int64 block table; latent is then pages
    """
    sizes = Sizes("dsa_attention")
    sizes.check("q", q, "batch length heads d", ATTENDED)
    sizes.check("latent", latent, _cache(table), (q.dtype,))
    if choice is not None:
        sizes.check("choice", choice, "batch length n", WHOLE)
        choice = choice.to(torch.int32)
    if not 1 <= d_v <= q.shape[-1]:
        raise InputError(f"dsa_attention: d_v is {d_v}, expected 1 to {q.shape[-1]}, the d of q")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    kept, first = _table(sizes, table), _start(sizes, start, q)
    found: tuple[Tensor, Tensor] = _attention(q, latent, choice, kept, first, d_v, scale)
    return found[0]


def dsa_quantize(x: Tensor, *, rotate: bool = False) -> tuple[Tensor, Tensor]:
    """An indexer's queries or keys as float8_e4m3fn, and one float8_e8m0fnu scale for each row [...].

    x is [..., d] of any float dtype; the scale is the smallest power of two that lets the row's largest magnitude fit,
    taken as 1e-4 where it is less. rotate: `hadamard` first.
    """
    wide = (hadamard(x) if rotate else x).float()
    largest = wide.abs().amax(-1).nan_to_num(torch.finfo(torch.float32).max)
    codes = power_of_two(largest, "e4m3fn", "ceil")
    inverse = ((254 - codes) << 23).to(torch.int32).view(torch.float32)
    return (wide * inverse[..., None]).to(torch.float8_e4m3fn), codes.to(torch.uint8).view(torch.float8_e8m0fnu)


def hadamard(x: Tensor) -> Tensor:
    """x [..., d] times the orthogonal Hadamard matrix of d, a power of two, in x's dtype; added in fp32 or float64.

    Products q·k stay as they are, and large elements are spread over all, which a shared scale then fits better.
    """
    d = x.shape[-1]
    if d & (d - 1) or not d:
        raise InputError(f"hadamard: x has shape {list(x.shape)}, expected a power of two as the last size")
    found = x if x.dtype == torch.float64 else x.float()
    half = 1
    while half < d:
        a, b = found.unflatten(-1, (-1, 2, half)).unbind(-2)
        found = torch.stack((a + b, a - b), -2).flatten(-3)
        half *= 2
    return (found / math.sqrt(d)).to(x.dtype)


def _cache(table: Tensor | None) -> str:
    return "batch tokens d" if table is None else "pages page d"


def _table(sizes: Sizes, table: Tensor | None) -> Tensor | None:
    if table is None:
        return None
    sizes.check("table", table, "batch pages_of_one", WHOLE)
    return table.to(torch.int32)


def _start(sizes: Sizes, start: int | Tensor, q: Tensor) -> Tensor:
    if isinstance(start, Tensor):
        sizes.check("start", start, "batch", WHOLE)
        return start.to(torch.int64)
    if start < 0:
        raise InputError(f"{sizes.operator}: start is {start}, expected 0 or more")
    return torch.full((q.shape[0],), start, dtype=torch.int64, device=q.device)


def _run_index(q: Tensor, *rest: object) -> Tensor:
    if q.dtype in (torch.float16, torch.float64):  # rounded or widened to fp32 first, whoever computes it
        q = q.float()
    found: Tensor = backend.kernel("dsa", "dsa_index", q.device, q.dtype)(q, *rest)
    return found


def _run_attention(q: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = backend.kernel("dsa", "dsa_attention", q.device, q.dtype)(q, *rest)
    return found


def _run_backward(
    d_out: Tensor,
    d_lse: Tensor,
    q: Tensor,
    latent: Tensor,
    choice: Tensor | None,
    table: Tensor | None,
    start: Tensor,
    out: Tensor,
    lse: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    run = backend.kernel("dsa", "dsa_attention_backward", q.device, q.dtype)
    found: tuple[Tensor, Tensor] = run((d_out, d_lse), q, latent, choice, table, start, (out, lse), scale)
    return found


def _index_shapes(q: Tensor, *rest: Any) -> Tensor:
    return q.new_empty((*q.shape[:2], rest[-1]), dtype=torch.int32)


def _attention_shapes(q: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    return q.new_empty((*q.shape[:3], rest[-2])), q.new_empty(q.shape[:3], dtype=wide)


def _backward_shapes(d_out: Tensor, d_lse: Tensor, q: Tensor, latent: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(latent)


def _keep(ctx: register.Context, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, latent, choice, table, start, _, scale = inputs
    ctx.save_for_backward(q, latent, choice, table, start, *output)
    ctx.options = (scale,)


def _gradients(ctx: register.Context, d_out: Tensor, d_lse: Tensor) -> tuple[Tensor | None, ...]:
    d_q, d_latent = _backward(d_out, d_lse, *ctx.saved_tensors, *ctx.options)
    return d_q, d_latent, None, None, None, None, None


_index = register.operator(
    "dsa_index(Tensor q, Tensor k, Tensor weights, Tensor? q_scale, Tensor? k_scale, Tensor? table, Tensor start, "
    "int top_k) -> Tensor",
    _run_index,
    _index_shapes,
)
_backward = register.operator(
    "dsa_attention_backward(Tensor d_out, Tensor d_lse, Tensor q, Tensor latent, Tensor? choice, Tensor? table, "
    "Tensor start, Tensor out, Tensor lse, float scale) -> (Tensor, Tensor)",
    _run_backward,
    _backward_shapes,
)
_attention = register.operator(
    "dsa_attention(Tensor q, Tensor latent, Tensor? choice, Tensor? table, Tensor start, int d_v, float scale) "
    "-> (Tensor, Tensor)",
    _run_attention,
    _attention_shapes,
    keep=_keep,
    backward=_gradients,
)
