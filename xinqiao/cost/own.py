"""How much work the operators of `xinqiao.ops` are: as one kernel, and as the smaller operators that they consist of.

One kernel reads what it needs once and writes its results. Composed, an operator also writes what it gathers, decodes
and scores to memory, and reads it again. Of n queries at the end of the keys, the mean one sees (n - 1) / 2 fewer than
all.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from xinqiao.cost.work import Tensor

FP32 = 4  # bytes


class Work(NamedTuple):
    """One call.

    name      of the operator, where one operator has several kernels
    sizes     what the limits of vendors' kernels speak of, by name
    flops     of products; a multiply and an add are two
    read      bytes of inputs that are needed; results come on top
    composed  bytes of what is written and read again, where there is no one kernel
    kernels   that it then is
    """

    name: str
    sizes: dict[str, int]
    flops: float
    read: float
    composed: float
    kernels: int


Inputs = Sequence[Tensor]
Numbers = Sequence[int]  # the call's integer arguments, in order
Own = Callable[[Inputs, Numbers], Work]


def _all(inputs: Inputs) -> float:
    return float(sum(t.bytes for t in inputs))


def _linear_block_fp8(inputs: Inputs, numbers: Numbers) -> Work:
    """x [..., k], weight [n, k], scale; composed: the weight is decoded first."""
    x, weight = inputs[:2]
    decoded = prod(weight.shape) * x.itemsize
    sizes = {"n": weight.shape[0], "k": weight.shape[1], "block": numbers[0]}
    return Work("linear_block_fp8", sizes, 2.0 * prod(x.shape) * weight.shape[0], _all(inputs), 2.0 * decoded, 2)


def _linear_int8(inputs: Inputs, numbers: Numbers) -> Work:
    """x [..., k], weight [n, k], scale; composed: codes of x, then an int32 product, then its scales."""
    x, weight = inputs[:2]
    rows = prod(x.shape[:-1])
    sizes = {"n": weight.shape[0], "k": weight.shape[1]}
    again = 2.0 * prod(x.shape) + 2.0 * FP32 * rows * weight.shape[0]
    return Work("linear_int8", sizes, 2.0 * prod(x.shape) * weight.shape[0], _all(inputs), again, 3)


def _grouped_linear(inputs: Inputs, numbers: Numbers) -> Work:
    """x [m, k], weight [e, n, k], offsets; composed: a product for each expert that has rows."""
    x, weight = inputs[:2]
    experts, n, k = weight.shape
    hit = min(experts, x.shape[0])
    decoded = 0.0 if weight.itemsize == x.itemsize else 2.0 * hit * n * k * x.itemsize
    read = x.bytes + weight.bytes * hit / experts
    return Work("grouped_linear", {"experts": experts, "n": n, "k": k}, 2.0 * prod(x.shape) * n, read, decoded, hit)


def _linear_backward(inputs: Inputs, numbers: Numbers) -> Work:
    """gradient [..., n], weight [n, k] and its scale: the gradient of x; composed: the weight is decoded first."""
    gradient, weight = inputs[:2]
    decoded = 2.0 * prod(weight.shape) * gradient.itemsize
    return Work("linear_backward", {}, 2.0 * prod(gradient.shape) * weight.shape[1], _all(inputs), decoded, 2)


def _grouped_linear_backward(inputs: Inputs, numbers: Numbers) -> Work:
    """gradient [m, n], and what the forward pass was given: two products, for x and for the weight."""
    found = _grouped_linear(inputs[1:], numbers)
    name = "grouped_linear_backward"
    return found._replace(
        name=name, flops=2 * found.flops, read=found.read + inputs[0].bytes, kernels=2 * found.kernels
    )


def _experts_backward(inputs: Inputs, numbers: Numbers) -> Work:
    """gradient [t, hidden], and what the forward pass was given: its products again, and two more for each."""
    found = _experts(inputs[1:], numbers)
    read, again = found.read + inputs[0].bytes, 3 * found.composed
    return Work("experts_backward", found.sizes, 3 * found.flops, read, again, 3 * found.kernels)


def _experts(inputs: Inputs, numbers: Numbers) -> Work:
    """x [t, hidden], weights [t, top_k], chosen, gate_up [e, 2i, hidden], down [e, hidden, i]."""
    x, weights, _, gate_up, down = inputs[:5]
    experts, hidden, inner = down.shape
    pairs = prod(weights.shape)
    hit = min(experts, pairs)
    share = hit / experts
    codes = gate_up.bytes + down.bytes
    again = 2.0 * pairs * (2 * hidden + 3 * inner) * x.itemsize
    if gate_up.itemsize != x.itemsize:
        again += 2.0 * share * codes / gate_up.itemsize * x.itemsize
    sizes = {"experts": experts, "hidden": hidden, "inner": inner, "top_k": weights.shape[1]}
    return Work(
        "experts", sizes, 6.0 * pairs * hidden * inner, x.bytes + weights.bytes + share * codes, again, 2 * hit + 5
    )


def _route(inputs: Inputs, numbers: Numbers) -> Work:
    """logits [t, e]: scores, groups, two sorts."""
    logits = inputs[0]
    return Work("moe_choose", {"experts": logits.shape[-1]}, 0.0, _all(inputs), 8.0 * FP32 * prod(logits.shape), 8)


def _dsa_index(inputs: Inputs, numbers: Numbers) -> Work:
    """q [b, t, h, d], keys [b, s, d] (pages count as full); composed: a score for each head and key."""
    q, k = inputs[:2]
    batch, length, heads, d = q.shape
    keys = prod(k.shape[:-1]) // batch
    pairs = batch * length * keys
    flops = 2.0 * batch * length * heads * d * max(keys - (length - 1) / 2, 0)
    sizes = {"heads": heads, "d_k": d, "chosen": numbers[-1]}
    return Work("dsa_index", sizes, flops, _all(inputs), 2.0 * FP32 * pairs * (heads + 1), 4)


def _dsa_attention(inputs: Inputs, numbers: Numbers) -> Work:
    """q [b, t, h, d], latent [b, s, d], choice [b, t, n] or none; composed: gathered rows and scores."""
    q, latent = inputs[:2]
    batch, length, heads, d = q.shape
    keys = prod(latent.shape[:-1]) // batch
    chosen = min(inputs[2].shape[2] if len(inputs[2].shape) == 3 else keys, keys)
    d_v, rows = numbers[0], batch * length * chosen
    gathered = float(rows * d * latent.itemsize)
    read = q.bytes + min(gathered, latent.bytes) + FP32 * rows
    again = 2 * gathered + 4.0 * FP32 * rows * heads
    return Work("dsa_attention", {"heads": heads, "d_k": d, "d_v": d_v}, 2.0 * rows * heads * (d + d_v), read, again, 4)


def _dsa_attention_backward(inputs: Inputs, numbers: Numbers) -> Work:
    """Gradients of out and of the denominators, what the forward pass was given, and out: five products for two."""
    out = inputs[-2]
    found = _dsa_attention(inputs[2:-2], [out.shape[-1]])
    read = found.read + _all((*inputs[:2], *inputs[-2:]))
    name = "dsa_attention_backward"
    return Work(name, found.sizes, 2.5 * found.flops, read, 2.5 * found.composed, 2 * found.kernels)


class _Attention(NamedTuple):
    """q [rows, heads, d_k], k [keys, kv_heads, d_k] or pages, v, and [n, 5] of the sequences that they hold."""

    q: Tensor
    k: Tensor
    v: Tensor
    rows: Tensor

    @property
    def keys(self) -> float:
        """Of a sequence, in the mean."""
        return prod(self.k.shape[:-2]) / self.rows.shape[0]

    def seen(self, stride: int = 1) -> float:
        """Keys of a mean query, where there is one for every `stride` tokens."""
        return max(self.keys - (self.q.shape[0] / self.rows.shape[0] - 1) / (2 * stride), 1.0)

    @property
    def sizes(self) -> dict[str, int]:
        heads, d_k, kv_heads, d_v = self.q.shape[1], self.q.shape[2], self.k.shape[-2], self.v.shape[-1]
        return {"heads": heads, "group": heads // kv_heads, "d_k": d_k, "d_v": d_v}

    def work(self, name: str, keys: float, scored: float, more: dict[str, int], *, gathered: bool = False) -> Work:
        """keys: that a query attends to. scored: those that a composition computes scores of."""
        wide = self.q.shape[2] + self.v.shape[-1]
        rows = prod(self.q.shape[:2])
        loaded = self.q.shape[0] * self.k.shape[-2] * keys * wide * self.k.itemsize
        read = self.q.bytes + min(self.k.bytes + self.v.bytes, loaded)
        again = 4.0 * FP32 * rows * scored + (2 * loaded if gathered else 0.0)
        return Work(name, self.sizes | more, 2.0 * rows * keys * wide, read, again, 5 if gathered else 3)


def _nsa_compressed(inputs: Inputs, numbers: Numbers) -> Work:
    """numbers: length, stride, block, blocks, initial, local. Composed, scores become blocks by five more operators."""
    call = _Attention(*inputs[:4])
    more = dict(zip(("length", "stride", "block", "blocks"), numbers, strict=False))
    found = call.work("nsa_compressed", call.seen(more["stride"]), call.keys, more)
    again = FP32 * prod(call.q.shape[:2]) * call.keys
    return found._replace(composed=found.composed + again, kernels=found.kernels + 5)


def _nsa_selected(inputs: Inputs, numbers: Numbers) -> Work:
    """choice [rows, kv_heads, blocks]; numbers: block."""
    call, choice = _Attention(*inputs[:4]), inputs[4]
    keys = min(float(choice.shape[-1] * numbers[0]), call.seen())
    return call.work("nsa_selected", keys, keys, {"block": numbers[0], "blocks": choice.shape[-1]}, gathered=True)


def _nsa_window(inputs: Inputs, numbers: Numbers) -> Work:
    """numbers: tokens of the window. Composed, all scores are computed and those outside it thrown away."""
    call = _Attention(*inputs[:4])
    return call.work("nsa_window", min(float(numbers[0]), call.seen()), call.keys, {"tokens": numbers[0]})


def _nsa_forward(inputs: Inputs, numbers: Numbers) -> list[Work]:
    """q, keys and values of three branches, gates, rows of compressed keys and tokens; numbers: the rule, the window.

    Its three branches, each as it would be alone: no vendor has one kernel for all.
    """
    q, ck, cv, k, v, wk, wv, _, fewer, rows = inputs[:10]
    *rule, window = numbers[:7]
    choice = Tensor((q.shape[0], k.shape[-2], rule[3]), FP32)
    return [
        _nsa_compressed([q, ck, cv, fewer], rule),
        _nsa_selected([q, k, v, rows, choice], rule[2:3]),
        _nsa_window([q, wk, wv, rows], [window]),
    ]


def _nsa_backward(inputs: Inputs, numbers: Numbers) -> Work:
    """gradient, q, k, v, out, lse, rows, choice or none; numbers: the rule or none, window, block.

    Five products instead of two: scores again, and the gradients of shares, q, k and v.
    """
    parts = [*inputs[1:4], inputs[6]]
    window, block = numbers[-2:]
    if len(numbers) > 2:
        found = _nsa_compressed(parts, numbers)
    elif len(inputs) > 7:
        found = _nsa_selected([*parts, inputs[7]], [block])
    else:
        found = _nsa_window(parts, [window])
    back = inputs[0].bytes + inputs[4].bytes + inputs[5].bytes
    name = f"{found.name}_backward"
    return Work(name, found.sizes, 2.5 * found.flops, found.read + back, 2.5 * found.composed, 2 * found.kernels)


_OWN: dict[str, Own] = {
    "linear_block_fp8": _linear_block_fp8,
    "linear_int8": _linear_int8,
    "linear_block_fp8_backward": _linear_backward,
    "linear_int8_backward": _linear_backward,
    "grouped_linear": _grouped_linear,
    "grouped_linear_backward": _grouped_linear_backward,
    "experts": _experts,
    "experts_backward": _experts_backward,
    "moe_choose": _route,
    "dsa_index": _dsa_index,
    "dsa_attention": _dsa_attention,
    "dsa_attention_backward": _dsa_attention_backward,
    "nsa_compressed": _nsa_compressed,
    "nsa_selected": _nsa_selected,
    "nsa_window": _nsa_window,
    "nsa_backward": _nsa_backward,
}


def work(operator: str, inputs: Inputs, numbers: Numbers) -> list[Work]:
    """The work of one call of an operator such as 'dsa_index', in parts that vendors may have kernels for.

    Only traffic for one that has no row here.
    """
    if operator == "nsa_forward":
        return _nsa_forward(inputs, numbers)
    found = _OWN.get(operator)
    return [found(inputs, numbers) if found else Work(operator, {}, 0.0, _all(inputs), 0.0, 1)]
