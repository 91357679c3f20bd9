"""Mixture of experts, compiled: see native/moe.cpp."""

import ctypes

import torch
from torch import Tensor

from xinqiao.native.kernels import kernels
from xinqiao.ops.reference.moe import Block, check_chosen, experts_backward, grouped_linear_backward, spans

__all__ = ["DTYPES", "choose", "experts", "experts_backward", "grouped_linear", "grouped_linear_backward"]

DTYPES = frozenset((torch.float32, torch.bfloat16))
_KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.float8_e4m3fn: 2, torch.int8: 3}
_SCORES = {"sigmoid": 0, "softmax": 1}
_AS_IS = 2


class _Router(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("experts", "top_k", "groups", "kept")),
        ("kind", ctypes.c_int32),
    )


class _Weights(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("codes", "scales")),
        *((name, ctypes.c_int64) for name in ("experts", "n", "k", "block_rows", "block_columns")),
        *((name, ctypes.c_int32) for name in ("kind", "scaling")),
    )

    def __init__(self, codes: Tensor, scale: Tensor | None, block: Block) -> None:
        self.kept = codes.contiguous(), None if scale is None else scale.contiguous()
        blocked = codes.dtype == torch.float8_e4m3fn
        super().__init__(
            *(_address(t) for t in self.kept),
            *codes.shape,
            *(block if blocked else (1, 1)),
            _KINDS[codes.dtype],
            0 if not blocked or scale is None else 1 if scale.dtype == torch.float32 else 2,
        )


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "factors", "chosen")),
        *((name, ctypes.POINTER(_Weights)) for name in ("gate_up", "down")),
        ("y", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("tokens", "top_k")),
    )


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def choose(
    logits: Tensor,
    bias: Tensor | None,
    top_k: int,
    groups: int,
    kept_groups: int,
    scoring: str,
    *,
    at: str | None = None,
) -> Tensor:
    logits = logits.float().contiguous()
    added = None if bias is None else bias.float().contiguous()
    tokens, experts = logits.shape
    chosen = torch.empty(tokens, top_k, dtype=torch.int64)
    kind = _AS_IS if scoring == "softmax" and bias is None else _SCORES[scoring]
    rule = _Router(experts, top_k, groups, kept_groups, kind)
    kernels("moe", at).xq_moe_choose(
        *(ctypes.c_void_p(_address(t)) for t in (logits, added)),
        ctypes.c_int64(tokens),
        ctypes.byref(rule),
        ctypes.c_void_p(_address(chosen)),
        _threads(tokens * experts),
    )
    return chosen


def grouped_linear(
    x: Tensor,
    weight: Tensor,
    offsets: Tensor,
    bias: Tensor | None,
    scale: Tensor | None,
    block: Block,
    *,
    at: str | None = None,
) -> Tensor:
    x, ends = x.contiguous(), offsets.to(torch.int64).contiguous()
    last = spans(offsets, x.shape[0])[-1][1]
    added = None if bias is None else bias.contiguous()
    y = x.new_empty(x.shape[0], weight.shape[1])
    y[last:] = 0
    weights = _Weights(weight, scale, block)
    kernels("moe", at).xq_moe_linear(
        ctypes.c_void_p(_address(x)),
        ctypes.byref(weights),
        *(ctypes.c_void_p(_address(t)) for t in (ends, added, y)),
        int(x.dtype == torch.bfloat16),
        torch.get_num_threads(),
    )
    return y


def experts(
    x: Tensor,
    weights: Tensor,
    chosen: Tensor,
    gate_up: Tensor,
    down: Tensor,
    gate_up_scale: Tensor | None,
    down_scale: Tensor | None,
    block: Block,
    *,
    at: str | None = None,
) -> Tensor:
    check_chosen(chosen, gate_up.shape[0])
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    x, factors, places = x.contiguous(), weights.float().contiguous(), chosen.to(torch.int64).contiguous()
    first, second = _Weights(gate_up, gate_up_scale, block), _Weights(down, down_scale, block)
    layer = _Layer(
        *(_address(t) for t in (x, factors, places)),
        ctypes.pointer(first),
        ctypes.pointer(second),
        _address(y),
        *chosen.shape,
    )
    kernels("moe", at).xq_moe_experts(ctypes.byref(layer), int(x.dtype == torch.bfloat16), torch.get_num_threads())
    return y


def _threads(work: int) -> int:
    """One where there is less to do than starting another costs."""
    return torch.get_num_threads() if work > 1 << 14 else 1
