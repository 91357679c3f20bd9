"""How much arithmetic an operator does, from the shapes of its tensors. A multiply and an add are two."""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

Shape = Sequence[int]


class Tensor(NamedTuple):
    shape: Shape
    itemsize: int

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.itemsize


Call = tuple[Sequence[Shape], Sequence[Shape], bool]  # inputs, outputs, the operator's own flag
Work = Callable[[Call], float]


def _matmul(position: int) -> Work:
    """Product of two matrices; `position` is that of the left one among the inputs: (..., m, k) × (..., k, n)."""

    def flops(call: Call) -> float:
        inputs = call[0]
        if len(inputs) < position + 2 or not inputs[position]:
            return 0.0
        left, right = inputs[position], inputs[position + 1]
        columns = right[-1] if len(right) > 1 else 1
        return 2.0 * prod(left) * columns

    return flops


def _linear(call: Call) -> float:
    inputs = call[0]
    return 2.0 * prod(inputs[0]) * inputs[1][0]


def _grouped(call: Call) -> float:
    """(rows, k) × one (k, n) for each group of rows; or both split along their rows, for the gradient of weights."""
    x, weight = call[0][:2]
    return 2.0 * prod(x) * weight[-1]


def _attention(products: int, query: int) -> Work:
    """`products` matrix products over (batch, heads, queries, keys): 2 forward, 5 backward (one is recomputed).

    The flag says that it is causal: a query sees its own key and those before.
    """

    def flops(call: Call) -> float:
        q, k = call[0][query], call[0][query + 1]
        keys = k[-2] - (min(q[-2], k[-2]) - 1) / 2 if call[2] else k[-2]
        return 2.0 * products * prod(q) * keys

    return flops


def _convolution(passes: int, source: int) -> Work:
    """Convolution of (n, c_in, ...) with (c_out, c_in/groups, ...); the flag says that it is transposed.

    Each element of the larger-grained side meets one filter: the output, or the input where transposed.
    """

    def flops(call: Call) -> float:
        inputs, outputs, transposed = call
        weight = inputs[source + 1]
        grid = inputs[source] if transposed else (outputs[0] if source == 0 else inputs[0])
        return 2.0 * passes * prod(grid) * prod(weight[1:])

    return flops


_WORK: dict[str, Work] = {
    "mm": _matmul(0),
    "bmm": _matmul(0),
    "mv": _matmul(0),
    "_scaled_mm": _matmul(0),
    "_int_mm": _matmul(0),
    "addmm": _matmul(1),
    "addmv": _matmul(1),
    "baddbmm": _matmul(1),
    "addbmm": _matmul(1),
    "linear": _linear,
    "_grouped_mm": _grouped,
    "convolution": _convolution(1, 0),
    "convolution_overrideable": _convolution(1, 0),
    "convolution_backward": _convolution(2, 1),
    "convolution_backward_overrideable": _convolution(2, 1),
    "_scaled_dot_product_flash_attention": _attention(2, 0),
    "_scaled_dot_product_efficient_attention": _attention(2, 0),
    "_scaled_dot_product_fused_attention_overrideable": _attention(2, 0),
    "_scaled_dot_product_flash_attention_backward": _attention(5, 1),
    "_scaled_dot_product_efficient_attention_backward": _attention(5, 1),
    "_scaled_dot_product_fused_attention_overrideable_backward": _attention(5, 1),
}


def flops(operator: str, inputs: Sequence[Shape], outputs: Sequence[Shape], *, flag: bool = False) -> float:
    """Floating-point operations of one call; 0 for operators that only move or map elements.

    operator   'aten::addmm.out'
    flag       the operator's own flag that changes the count: transposed, for convolutions; causal, for attention
    """
    name = operator.removeprefix("aten::").split(".")[0]
    work = _WORK.get(name)
    return work((inputs, outputs, flag)) if work else 0.0
