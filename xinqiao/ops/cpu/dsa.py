"""DeepSeek-V3.2's sparse attention on a processor; see xinqiao/native/dsa.cpp."""

import ctypes

import torch
from torch import Tensor

from xinqiao.native.kernels import kernels
from xinqiao.ops.reference.dsa import factors

DTYPES = frozenset((torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn))
KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.float8_e4m3fn: 2, torch.float8_e8m0fnu: 2, torch.uint8: 2}


class _Cache(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("kind", "block_stride", "row_stride", "pages", "page")),
    )


class _Index(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("q", "weights", "start")),
        *((name, ctypes.c_int64) for name in ("q_kind", "batch", "length", "heads", "d", "keys", "top_k", "threads")),
        *((name, _Cache) for name in ("k", "scales")),
    )


class _Attention(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("q", "choice", "start")),
        *((name, ctypes.c_int64) for name in ("batch", "length", "heads", "d", "d_v", "keys", "chosen", "threads")),
        ("latent", _Cache),
        ("scale", ctypes.c_float),
    )


class _Backward(ctypes.Structure):
    _fields_ = (
        ("attention", _Attention),
        *((name, ctypes.c_void_p) for name in ("d_out", "lse", "share", "d_q", "d_latent")),
    )


def dsa_index(
    q: Tensor,
    k: Tensor,
    weights: Tensor,
    q_scale: Tensor | None,
    k_scale: Tensor | None,
    table: Tensor | None,
    start: Tensor,
    top_k: int,
    *,
    at: str | None = None,
) -> Tensor:
    """As `xinqiao.ops.reference.dsa.dsa_index`. at: a level of `processor.levels()` other than the best."""
    q, k, table = q.contiguous(), _dense(k), _table(table)
    start = start.contiguous()
    weights = (weights.float() * (1 if q_scale is None else factors(q_scale))).contiguous()
    choice = torch.empty(*q.shape[:2], top_k, dtype=torch.int32)
    scales = _Cache() if k_scale is None else _cache(k_scale, table)
    sizes = (*q.shape, _tokens(k, table), top_k, torch.get_num_threads())
    call = _Index(*_at(q, weights, start), KINDS[q.dtype], *sizes, _cache(k, table), scales)
    kernels("dsa", at).xq_dsa_index(ctypes.byref(call), *_at(choice))
    return choice


def dsa_attention(
    q: Tensor,
    latent: Tensor,
    choice: Tensor | None,
    table: Tensor | None,
    start: Tensor,
    d_v: int,
    scale: float,
    *,
    at: str | None = None,
) -> tuple[Tensor, Tensor]:
    """As `xinqiao.ops.reference.dsa.dsa_attention`. at: a level of `processor.levels()` other than the best."""
    tensors = _Tensors(q, latent, choice, table, start)
    out, lse = torch.empty(*q.shape[:3], d_v, dtype=tensors.q.dtype), torch.empty(q.shape[:3])
    kernels("dsa", at).xq_dsa_attention(ctypes.byref(tensors.call(d_v, scale)), *_at(out, lse))
    return out.to(q.dtype), lse


def dsa_attention_backward(
    grads: tuple[Tensor, Tensor],
    q: Tensor,
    latent: Tensor,
    choice: Tensor | None,
    table: Tensor | None,
    start: Tensor,
    results: tuple[Tensor, Tensor],
    scale: float,
    *,
    at: str | None = None,
) -> tuple[Tensor, Tensor]:
    """As `xinqiao.ops.reference.dsa.dsa_attention_backward`. at: a level other than the best."""
    tensors = _Tensors(q, latent, choice, table, start)
    d_out, out = grads[0].float().contiguous(), results[0].float()
    share = ((d_out * out).sum(-1) - grads[1]).contiguous()
    lse = results[1].contiguous()
    d_q, d_latent = torch.empty(q.shape), torch.zeros(latent.shape)
    call = _Backward(tensors.call(out.shape[-1], scale), *_at(d_out, lse, share, d_q, d_latent))
    kernels("dsa", at).xq_dsa_attention_backward(ctypes.byref(call))
    return d_q.to(q.dtype), d_latent.to(latent.dtype)


class _Tensors:
    """Tensors as the kernels take them, held for the length of a call."""

    def __init__(self, q: Tensor, latent: Tensor, choice: Tensor | None, table: Tensor | None, start: Tensor) -> None:
        self.q, self.latent, self.table = _dense(q).contiguous(), _dense(latent), _table(table)
        self.choice, self.start = None if choice is None else choice.contiguous(), start.contiguous()

    def call(self, d_v: int, scale: float) -> _Attention:
        chosen = 0 if self.choice is None else self.choice.shape[-1]
        sizes = (*self.q.shape, d_v, _tokens(self.latent, self.table), chosen, torch.get_num_threads())
        return _Attention(*_at(self.q, self.choice, self.start), *sizes, _cache(self.latent, self.table), scale)


def _dense(x: Tensor) -> Tensor:
    """Of a dtype that the kernels read, with rows that have no gaps; anything else is copied."""
    kept = x if x.dtype in KINDS else x.float()
    return kept if kept.stride(-1) == 1 else kept.contiguous()


def _table(table: Tensor | None) -> Tensor | None:
    return None if table is None else table.contiguous()


def _tokens(cache: Tensor, table: Tensor | None) -> int:
    return cache.shape[1] * (1 if table is None else table.shape[1])


def _cache(x: Tensor, table: Tensor | None) -> _Cache:
    pages = 0 if table is None else table.shape[1]
    return _Cache(*_at(x, table), KINDS[x.dtype], *x.stride()[:2], pages, x.shape[1])


def _at(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(None if x is None else x.data_ptr()) for x in tensors]
