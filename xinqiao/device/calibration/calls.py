"""Candidates as calls of PyTorch, written as models write them.

Weights and caches are read from memory, as in a model, not from a cache that the call before filled: they are views of
one large pool, and each call takes the next one. Activations are few and stay where they are.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xinqiao.chips.table import Kind
from xinqiao.device.calibration.shapes import Shape

DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.int8,
    "fp8": torch.float8_e4m3fn,
}
FEW = 2**20  # random numbers that fill a pool again and again

Call = Callable[[int], object]  # the number of the call decides which weight is read


class Pool:
    """Numbers of one dtype on a device, many more than fit its caches."""

    def __init__(self, device: str, dtype: torch.dtype, nbytes: int) -> None:
        size = max(nbytes // dtype.itemsize // FEW, 1) * FEW
        few = torch.randn(FEW).mul_(0.1 if dtype.is_floating_point else 40).to(dtype)
        self.numbers = torch.empty(size, dtype=dtype, device=device)
        for start in range(0, size, FEW):
            self.numbers[start : start + FEW] = few.to(device)

    def views(self, *shape: int, most: int = 256) -> list[Tensor] | None:
        """As many tensors of `shape` as there is room for, none of which overlap; None where there is no room."""
        size = torch.Size(shape).numel()
        stride = -(-size // 64) * 64
        count = min(self.numbers.numel() // stride, most)
        starts = range(0, count * stride, stride)
        return [self.numbers[start : start + size].view(shape) for start in starts] or None

    def one(self, *shape: int) -> Tensor | None:
        found = self.views(*shape, most=1)
        return found[0] if found else None


class Room(NamedTuple):
    """Where calls take tensors from."""

    pool: Pool
    device: str


def call(kind: Kind, form: str, shape: Shape, room: Room) -> Call | None:
    """The call; None where the pool is too small. RuntimeError, now or when called, where the device cannot do it."""
    if kind == "gemm":
        return _gemm(form, shape, room)
    return _CALLS[kind](shape, room.pool)


def _gemm(form: str, shape: Shape, room: Room) -> Call | None:
    m, n, k = shape
    x, weights = room.pool.one(m, k), room.pool.views(n, k)
    if x is None or weights is None:
        return None
    count = len(weights)
    if form == "int8":
        columns = [weight.t() for weight in weights]
        return lambda i: torch._int_mm(x, columns[i % count])
    if form == "fp8":
        columns, one = [weight.t() for weight in weights], torch.ones((), device=room.device)
        return lambda i: torch._scaled_mm(x, columns[i % count], one, one, out_dtype=torch.bfloat16)
    return lambda i: F.linear(x, weights[i % count])


def _grouped(shape: Shape, pool: Pool) -> Call | None:
    m, n, k, groups = shape
    x, weights = pool.one(groups, m, k), pool.views(groups, n, k)
    if x is None or weights is None:
        return None
    turned = [weight.transpose(1, 2) for weight in weights]
    return lambda i: torch.bmm(x, turned[i % len(turned)])


def _attention(shape: Shape, pool: Pool, *, decode: bool) -> Call | None:
    sequences, length, heads, kv_heads, dim = shape
    q = pool.one(sequences, 1 if decode else length, heads, dim)
    caches = pool.views(2, sequences, kv_heads, length, dim)
    if q is None or caches is None:
        return None
    attend = partial(
        F.scaled_dot_product_attention, q.transpose(1, 2), is_causal=not decode, enable_gqa=heads != kv_heads
    )
    return lambda i: attend(key=caches[i % len(caches)][0], value=caches[i % len(caches)][1])


def _elementwise(shape: Shape, pool: Pool) -> Call | None:
    numbers, passes = shape
    both = pool.one(2, numbers)
    if both is None:
        return None
    x, y = both
    return (lambda _: x.neg()) if passes == 2 else (lambda _: x * y)


def _norm(shape: Shape, pool: Pool) -> Call | None:
    both, weight = pool.one(2, *shape), pool.one(shape[-1])
    if both is None or weight is None:
        return None
    x, residual = both
    return lambda _: F.rms_norm(x + residual, shape[-1:], weight)


def _embedding(shape: Shape, pool: Pool) -> Call | None:
    tokens, width = shape
    table = pool.one(pool.numbers.numel() // width, width)
    if table is None:
        return None
    rows = torch.randint(table.shape[0], (64, tokens)).to(table.device)
    return lambda i: F.embedding(rows[i % 64], table)


def _copy(shape: Shape, pool: Pool) -> Call | None:
    both = pool.one(2, shape[0] // pool.numbers.itemsize)
    if both is None:
        return None
    source, target = both
    return lambda _: target.copy_(source)


def _launch(shape: Shape, pool: Pool) -> Call | None:
    x = pool.one(*shape)
    return None if x is None else lambda _: x.neg()


_CALLS: dict[Kind, Callable[[Shape, Pool], Call | None]] = {
    "grouped_gemm": _grouped,
    "prefill_attention": partial(_attention, decode=False),
    "decode_attention": partial(_attention, decode=True),
    "elementwise": _elementwise,
    "norm": _norm,
    "embedding": _embedding,
    "copy": _copy,
    "launch": _launch,
}
