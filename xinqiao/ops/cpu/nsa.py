"""Native sparse attention on this machine's processor; see `xinqiao/native/attention.cpp`.

Arithmetic is fp32 whatever the tensors hold. Takes what `xinqiao.ops.reference.nsa` takes, and pages of a cache.
"""

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from xinqiao.native.kernels import kernels
from xinqiao.ops.rules import Choosing, Keys, offsets

DTYPES = frozenset((torch.float32, torch.bfloat16, torch.float16))
LANES = 16


class _Cache(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("k", "v")),
        *((name, ctypes.c_int64) for name in ("half", "kv_heads", "k_size", "v_size")),
        *(("table", ctypes.c_void_p), ("table_row", ctypes.c_int64), ("page", ctypes.c_int64)),
    )


class _Call(ctypes.Structure):
    _fields_ = (
        *(("q", ctypes.c_void_p), ("cache", _Cache), ("sequences", ctypes.c_void_p)),
        *(("count", ctypes.c_int64), ("heads", ctypes.c_int64), ("scale", ctypes.c_float)),
        *(("window", ctypes.c_int64), ("choice", ctypes.c_void_p), ("blocks", ctypes.c_int64)),
        *(("block", ctypes.c_int64), ("gates", ctypes.c_void_p), ("gate", ctypes.c_int64), ("threads", ctypes.c_int64)),
    )


class _Rule(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("length", "stride", "block", "blocks", "initial", "local", "offsets")),
        *(("offset", ctypes.POINTER(ctypes.c_int64)), ("weight", ctypes.POINTER(ctypes.c_int64))),
    )


class _Tensors:
    """Tensors as the kernels take them, held for the length of a call."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, sequences: Tensor, scale: float, table: Tensor | None) -> None:
        self.q = _fp32(q)
        self.k, self.v = (k, v) if table is not None and _as_they_are(k, v) else (_fp32(k), _fp32(v))
        self.sequences, self.table = sequences.contiguous(), None if table is None else table.contiguous()
        row, page = (0, 0) if self.table is None else (self.table.stride(0), k.shape[1])
        cache = _Cache(*_addresses(self.k, self.v), self.k.dtype == torch.bfloat16, k.shape[-2])
        cache.k_size, cache.v_size = self.k.shape[-1], self.v.shape[-1]
        cache.table, cache.table_row, cache.page = None if self.table is None else self.table.data_ptr(), row, page
        self.call = _Call(self.q.data_ptr(), cache, self.sequences.data_ptr(), len(sequences), q.shape[1], scale)
        self.call.threads = torch.get_num_threads()

    def seeing(self, keys: Keys, choice: Tensor | None) -> None:
        self.call.window, self.call.block = keys.window, keys.block
        self.choice = None if choice is None else choice.contiguous()
        if self.choice is not None:
            self.call.choice, self.call.blocks = self.choice.data_ptr(), self.choice.shape[-1]

    def results(self) -> tuple[Tensor, Tensor]:
        return self.q.new_empty(*self.q.shape[:2], self.v.shape[-1]), self.q.new_empty(self.q.shape[:2])


def _as_they_are(k: Tensor, v: Tensor) -> bool:
    """Whether the kernels read these pages in place; of other dtypes and sizes they read a copy of the whole cache."""
    kinds = {k.dtype, v.dtype}
    sizes = k.shape[-1] % LANES or v.shape[-1] % LANES
    return not sizes and kinds in ({torch.float32}, {torch.bfloat16}) and k.is_contiguous() and v.is_contiguous()


def _padded(size: int) -> int:
    return size + -size % LANES


def _fp32(x: Tensor) -> Tensor:
    """Its last dimension a multiple of 16: zeros change no product."""
    more = _padded(x.shape[-1]) - x.shape[-1]
    return (pad(x, (0, more)) if more else x).float().contiguous()  # pad by nothing copies


@cache
def _rule(rule: Choosing) -> _Rule:
    at, weights = zip(*offsets(rule), strict=True)
    array = ctypes.c_int64 * len(at)
    sizes = (rule.length, rule.stride, rule.block, rule.blocks, rule.initial, rule.local)
    return _Rule(*sizes, len(at), array(*at), array(*weights))


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sequences: Tensor,
    keys: Keys,
    choice: Tensor | None,
    scale: float,
    table: Tensor | None = None,
    *,
    at: str | None = None,
) -> tuple[Tensor, Tensor]:
    """out [rows, heads, d_v] in q's dtype and the logarithm of each softmax's denominator, fp32 [rows, heads].

    table  int32 [sequences, pages]: k and v are then pages [pages, tokens of a page, kv_heads, d], a page a multiple of
           64 tokens
    at     a level of `xinqiao.native.processor` other than the best
    """
    tensors = _Tensors(q, k, v, sequences, scale, table)
    tensors.seeing(keys, choice)
    out, lse = tensors.results()
    kernels("attention", at).xq_attend(ctypes.byref(tensors.call), *_addresses(out, lse))
    return out[..., : v.shape[-1]].to(q.dtype), lse


def compressed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sequences: Tensor,
    rule: Choosing,
    scale: float,
    table: Tensor | None = None,
    *,
    at: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention over compressed keys and values, one row each, and the blocks chosen by it."""
    tensors = _Tensors(q, k, v, sequences, scale, table)
    choice = torch.empty(q.shape[0], k.shape[-2], rule.blocks, dtype=torch.int32)
    out, lse = tensors.results()
    run = kernels("attention", at).xq_nsa_compressed
    run(ctypes.byref(tensors.call), ctypes.byref(_rule(rule)), *_addresses(out, lse, choice))
    return out[..., : v.shape[-1]].to(q.dtype), lse, choice


def attend_backward(
    gradient: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    sequences: Tensor,
    keys: Keys | Choosing,
    choice: Tensor | None,
    scale: float,
    *,
    at: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v, in their dtypes; `out` and `lse` are what `attend` or `compressed` gave."""
    tensors = _Tensors(q, k, v, sequences, scale, None)
    if isinstance(keys, Keys):
        tensors.seeing(keys, choice)
    up, down, log = _fp32(gradient), _fp32(out), lse.contiguous()
    found = torch.empty_like(tensors.q), torch.zeros_like(tensors.k), torch.zeros_like(tensors.v)
    rule = ctypes.byref(_rule(keys)) if isinstance(keys, Choosing) else None
    kernels("attention", at).xq_attend_backward(ctypes.byref(tensors.call), rule, *_addresses(up, down, log, *found))
    dq, dk, dv = (g[..., : x.shape[-1]].to(x.dtype) for g, x in zip(found, (q, k, v), strict=True))
    return dq, dk, dv


def forward(
    q: Tensor,
    branches: Sequence[Tensor],
    gates: Tensor,
    sequences: Sequence[Tensor],
    rule: Choosing,
    tokens: int,
    scale: float,
    tables: Sequence[Tensor] = (),
) -> Tensor:
    """The three branches, summed as they are computed; branches: keys and values, compressed, selected and window."""
    ck, cv, k, v, wk, wv = branches
    weights, total = gates.float().contiguous(), q.new_zeros(*q.shape[:2], _padded(v.shape[-1]), dtype=torch.float32)
    choice = torch.empty(q.shape[0], k.shape[-2], rule.blocks, dtype=torch.int32)
    fewer, all_rows = tables or (None, None)
    one = _Tensors(q, ck, cv, sequences[0], scale, fewer)
    two, three = (_Tensors(one.q, *kv, sequences[1], scale, all_rows) for kv in ((k, v), (wk, wv)))
    two.seeing(Keys(block=rule.block), choice)
    three.seeing(Keys(window=tokens), None)
    for i, tensors in enumerate((one, two, three)):
        tensors.call.gates, tensors.call.gate = weights.data_ptr(), i
    run = kernels("attention")
    lse = torch.empty(q.shape[:2])
    run.xq_nsa_compressed(ctypes.byref(one.call), ctypes.byref(_rule(rule)), *_addresses(total, lse, choice))
    for tensors in (two, three):
        run.xq_attend(ctypes.byref(tensors.call), *_addresses(total, lse))
    return total[..., : v.shape[-1]].to(q.dtype)


def _addresses(*tensors: Tensor) -> Sequence[ctypes.c_void_p]:
    return [ctypes.c_void_p(t.data_ptr()) for t in tensors]
