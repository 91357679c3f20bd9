"""ATen operators as kernels: what PyTorch runs one by one, priced like a model's own kernels.

Traffic is what the operator's tensors hold, read or written once. An operator that looks rows up reads the rows that it
gives, not the whole table; one that works in place writes what it changes as well.
"""

from collections.abc import Sequence
from math import prod

from xinqiao.chips.performance import FORMATS
from xinqiao.cost.kernel import BITS, Kernel, decode_attention, gemm, prefill_attention
from xinqiao.cost.work import Tensor, flops

FEW = 8  # queries of a sequence at most for which attention is bound by reading keys and values

Tensors = Sequence[Tensor]

_LEFT = {
    **dict.fromkeys(("mm", "bmm", "mv", "_scaled_mm", "_int_mm", "linear", "_grouped_mm"), 0),
    **dict.fromkeys(("addmm", "addmv", "baddbmm", "addbmm"), 1),
}
_LOOKUPS = {"index_select", "embedding", "index", "gather", "take", "_unsafe_index"}
_FILLS = {"fill_", "zero_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "arange", "eye"}
_LISTS = {"lerp": 2, "addcmul": 3, "addcdiv": 3}  # of tensors that a foreach operator takes, where not one
_OPTIMIZERS = {"_fused_adam_": (4, 3), "_fused_adamw_": (4, 3), "_fused_sgd_": (2, 1)}  # lists read, and written


def kernel(operator: str, dtype: str, inputs: Tensors, outputs: Tensors, *, flag: bool = False) -> Kernel:
    """One call as a kernel.

    operator   'aten::addmm.out'
    dtype      'bfloat16', the one that it computes in
    flag       the operator's own: transposed, for convolutions; causal, for attention
    """
    name, _, overload = operator.removeprefix("aten::").partition(".")
    work = flops(operator, [t.shape for t in inputs], [t.shape for t in outputs], flag=flag)
    form = FORMATS.get(dtype, dtype)
    if "_scaled_dot_product" in name:
        return _attention(inputs, form, work, backward=name.endswith("_backward"))
    if name == "_grouped_mm":
        return _grouped(inputs, outputs, form, work)
    moved = _traffic(name, overload, inputs, outputs)
    if work and name in _LEFT:
        return _product(name, inputs[_LEFT[name] :], form, work, moved)
    return Kernel("gemm" if work else "elementwise", form, work, moved)


def _product(name: str, operands: Tensors, form: str, work: float, moved: float) -> Kernel:
    """[..., m, k] × [..., k, n]; a linear layer's rows are all but the last dimension."""
    left = operands[0].shape
    k = left[-1]
    m = prod(left[:-1]) if name == "linear" else left[-2] if len(left) > 1 else 1
    groups = prod(left[:-2]) if name != "linear" else 1
    if form not in BITS or not k * m * groups:
        return Kernel("gemm", form, work, moved, 0.0, m)
    return gemm(m, work / (2.0 * m * k * groups), k, form, groups=groups)._replace(flops=work, bytes=moved)


def _grouped(inputs: Tensors, outputs: Tensors, form: str, work: float) -> Kernel:
    """x [m, k] and one weight [k, n] of e for each group of rows, as many as rows that fall anywhere would meet."""
    x, weight = inputs[:2]
    if len(weight.shape) < 3:  # the gradient of the weights: both are split along their rows
        return Kernel("grouped_gemm", form, work, float(_all(inputs) + _all(outputs)), 0.0, x.shape[0])
    experts, rows = weight.shape[0], prod(x.shape[:-1])
    met = max(experts * (1 - (1 - 1 / experts) ** rows), 1.0)
    moved = x.bytes + weight.bytes * met / experts + _all(inputs[2:]) + _all(outputs)
    return Kernel("grouped_gemm", form, work, moved, 0.0, rows / met)


def _attention(inputs: Tensors, form: str, work: float, *, backward: bool) -> Kernel:
    """[gradient,] q [b, heads, queries, d], k and v [b, kv_heads, keys, d]; results are as large as q, k and v."""
    q, k, v = inputs[1:4] if backward else inputs[:3]
    queries, keys, d_qk, d_v = q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1]
    rows = float(prod(q.shape[:-1]))  # of all heads
    result = rows * d_v * q.itemsize
    seen = work / (2 * (5 if backward else 2) * rows * d_qk) if rows else 0.0
    if backward:
        moved = 2 * float(q.bytes + k.bytes + v.bytes) + 2 * result
        return Kernel("prefill_attention", form, work, moved)
    if queries <= FEW < keys:
        made = decode_attention(rows, keys, 1, (d_qk, d_v), cache=float(k.bytes + v.bytes), form=form)
        return made._replace(flops=work, bytes=q.bytes + result)
    made = prefill_attention(rows, seen, 1, (d_qk, d_v), form=form)
    return made._replace(flops=work, bytes=q.bytes + k.bytes + v.bytes + result)


def _all(tensors: Tensors) -> int:
    return sum(t.bytes for t in tensors)


def _traffic(name: str, overload: str, inputs: Tensors, outputs: Tensors) -> float:
    given = float(_all(outputs))
    if name in _FILLS:
        return given or float(_all(inputs[:1]))
    if name in _LOOKUPS and inputs and outputs:
        return min(inputs[0].bytes, given) + _all(inputs[1:]) + given
    if name in _OPTIMIZERS:
        read, written = _OPTIMIZERS[name]
        return _all(inputs) * (1 + written / read)
    if name.startswith("_foreach_"):
        return _foreach(name, overload, inputs, outputs)
    in_place = name.endswith("_") and not outputs
    return _all(inputs) + given + (inputs[0].bytes if in_place and inputs else 0)


def _foreach(name: str, overload: str, inputs: Tensors, outputs: Tensors) -> float:
    """Lists of equal lengths, one after the other; the first one is changed where the name says so."""
    bare = name.removeprefix("_foreach_").rstrip("_")
    lists = _LISTS.get(bare, 2 if overload == "List" or bare == "copy" else 1)
    read = _all(inputs)
    if not name.endswith("_"):
        return float(read + _all(outputs))
    first = _all(inputs[: len(inputs) // lists])
    return float(2 * first if bare in ("copy", "zero") else read + first)
