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
    return Work("route", {"experts": logits.shape[-1]}, 0.0, _all(inputs), 8.0 * FP32 * prod(logits.shape), 8)


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
    "grouped_linear": _grouped_linear,
    "experts": _experts,
    "route": _route,
    "dsa_index": _dsa_index,
    "dsa_attention": _dsa_attention,
    "nsa_compressed": _nsa_compressed,
    "nsa_selected": _nsa_selected,
    "nsa_window": _nsa_window,
    "nsa_backward": _nsa_backward,
}


def work(operator: str, inputs: Inputs, numbers: Numbers) -> Work:
    """The work of one call of an operator such as 'dsa_index'; only traffic for one that has no row here."""
    found = _OWN.get(operator)
    return found(inputs, numbers) if found else Work(operator, {}, 0.0, _all(inputs), 0.0, 1)
