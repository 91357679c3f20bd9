"""What autograd keeps of one layer, and what a forward pass holds at once: counts of tensors as PyTorch makes them.

Bytes of one token unless it says otherwise. An operator keeps what its gradient needs: a product its input (where its
weight is trained) and its weight, softmax and tanh their result, fused attention q, k, v, its result and one fp32
number a head. RMS norms compute in fp32. Counted in transformers 5.24 on a virtual chip; see tests/size/test_memory.py.
"""

from typing import NamedTuple

from xinqiao.size.model import Attention, Experts, Layer, Model
from xinqiao.size.plan import Plan

FP32, INDEX = 4.0, 8.0  # bytes of a number


class Kept(NamedTuple):
    """How a program trains.

    stream    bytes of a number in the residual stream
    products  bytes of a number that products read
    casts     autocast: each product reads a 16-bit copy of its own
    trained   all weights are; else adapters of queries and values alone
    scores    attention is two products and a softmax; else one kernel
    masked    the kernel takes a mask: each layer keeps it as numbers, and keys and values once for every query head
    """

    stream: float
    products: float
    casts: bool = False
    trained: bool = True
    scores: bool = False
    masked: bool = False


def norm(kept: Kept, width: float, *, layer_norm: bool) -> float:
    """Input, and the normalised input that the trained weight's gradient needs."""
    if layer_norm:
        return kept.stream * width + 2 * FP32
    return FP32 * width + (kept.stream * width if kept.trained else 0.0) + 2 * FP32


def norm_backward(kept: Kept, width: float, *, layer_norm: bool) -> float:
    """An RMS norm's gradients in fp32, beyond the result and the normalised input that are freed before."""
    if layer_norm:
        return 0.0
    return 5 * FP32 * width - ((kept.products + kept.stream) * width if kept.trained else 0.0)


def _read(kept: Kept, width: float, products: int) -> float:
    """The input of several products."""
    return kept.products * width * (products if kept.casts else 1)


def layer(model: Model, plan: Plan, made: Layer, kept: Kept, keys: float) -> float:
    """All that the backward pass of one layer reads. keys: that a token attends to, for scores."""
    hidden = float(model.hidden)
    gated = 2 if made.gated else 1
    total = 2 * norm(kept, hidden, layer_norm=model.norm_bias)
    total += _read(kept, hidden, 1 if model.norm_bias else 3)
    total += _attention(kept, plan, made.attention, keys)
    if made.inner:
        total += _read(kept, hidden, gated) if kept.trained else 0.0
        total += _feed_forward(kept, made.inner / plan.tp, gated=made.gated)
    if made.experts:
        total += _read(kept, hidden, 1) if kept.trained else 0.0
        total += _experts(kept, plan, made.experts, hidden)
    return total


def _feed_forward(kept: Kept, inner: float, *, gated: bool) -> float:
    """Gated: gate, its activation, up, and their product, which `down` reads.

    Else GELU written out with tanh: its input, half of it, tanh, one more than that, and the result.
    """
    last = 1 if kept.trained else 0
    return ((3 if gated else 4) + last) * inner * kept.products


def _attention(kept: Kept, plan: Plan, a: Attention, keys: float) -> float:
    heads, kv_heads = a.heads / plan.tp, max(a.kv_heads / plan.tp, 1.0)
    total = 0.0
    if a.qk_norm:
        total += norm(kept, (heads + kv_heads) * a.head_dim, layer_norm=False)
    if kept.scores:
        kv_heads = heads  # repeated
        cast = kept.products if kept.products < FP32 else 0.0
        total += heads * keys * (FP32 + cast)
    else:
        total += FP32 * heads
    if kept.masked:
        kv_heads = heads  # repeated
        total += keys * kept.products
    kv = kv_heads * (a.head_dim + a.value_dim)
    return total + kept.products * (heads * (a.head_dim + a.value_dim) + kv)


def _experts(kept: Kept, plan: Plan, experts: Experts, hidden: float) -> float:
    """Of all its experts: rows, gate and up as one tensor, activation, product, result; and the router's choice."""
    width = 2 * hidden + 4 * experts.inner / (plan.tp if plan.ep == 1 else 1)
    pairs = experts.top_k * (width * kept.products + 5 * INDEX)
    shared = _feed_forward(kept, experts.shared_inner / plan.tp, gated=True)
    return pairs + shared + experts.count * (FP32 + kept.products)


def backward(model: Model, plan: Plan, made: Layer, kept: Kept, keys: float) -> float:
    """Gradients that are there at once in a layer's backward pass, beyond what is freed meanwhile.

    Of the feed-forward part; or, later, of the scores and of their softmax, while the former's tensors are gone.
    """
    wide = 2 * made.inner / plan.tp
    if made.experts:
        inner = made.experts.inner / (plan.tp if plan.ep == 1 else 1)
        wide += made.experts.top_k * max(3.0 * model.hidden, 4 * inner - model.hidden)
    first = kept.products * wide + kept.stream * 2 * model.hidden
    if not kept.scores:
        return first
    scores = made.attention.heads / plan.tp * keys * (2 * FP32 - (kept.products if kept.products < FP32 else 0.0))
    return max(first, scores - _feed_forward(kept, made.inner / plan.tp, gated=made.gated))


def forward(model: Model, plan: Plan, made: Layer, width: float) -> float:
    """What a layer's feed-forward part holds at once without gradients, in numbers of `width` bytes.

    The embedding, the layer's input, the residual and the normalised input; then activation, up and their product; or
    for experts rows, results, weighed results, and those in their order again.
    """
    wide = 3 * made.inner / plan.tp
    if made.experts:
        inner = made.experts.inner / (plan.tp if plan.ep == 1 else 1)
        pairs = max(4.0 * model.hidden, model.hidden + 4 * inner)
        wide = made.experts.top_k * pairs + 3 * made.experts.shared_inner / plan.tp
    return width * (4 * model.hidden + wide)
