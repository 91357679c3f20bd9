"""The norms of apex.normalization in plain PyTorch.

Statistics are float32, or float64 for float64; under autocast input and parameters take its dtype first, as there.

Source: docstrings of apex/normalization/fused_layer_norm.py, https://github.com/NVIDIA/apex
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FusedLayerNorm", "FusedRMSNorm", "MixedFusedLayerNorm", "MixedFusedRMSNorm"]


class FusedRMSNorm(nn.Module):
    """x / sqrt(mean of squares + eps) * weight over the last dimensions; the output has the input's dtype.

    memory_efficient chooses what the backward pass keeps there; it changes nothing here.
    """

    has_bias = False
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        shape = (int(normalized_shape),) if isinstance(normalized_shape, numbers.Integral) else tuple(normalized_shape)  # type: ignore[arg-type]
        self.normalized_shape = torch.Size(shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter("weight", nn.Parameter(torch.ones(shape)) if elementwise_affine else None)
        if self.has_bias:
            self.register_parameter("bias", nn.Parameter(torch.zeros(shape)) if elementwise_affine else None)

    def forward(self, input: Tensor) -> Tensor:
        dtype = input.dtype
        if torch.is_autocast_enabled(input.device.type):
            dtype = torch.get_autocast_dtype(input.device.type)
        with torch.autocast(input.device.type, enabled=False):
            return self._norm(input.to(dtype), dtype)

    def _norm(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        dims = tuple(range(-len(self.normalized_shape), 0))
        out = wide * torch.rsqrt(wide.square().mean(dims, keepdim=True) + self.eps)
        return (out if self.weight is None else out * self.weight.to(dtype)).to(self._output(dtype))

    def _output(self, dtype: torch.dtype) -> torch.dtype:
        return dtype

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class FusedLayerNorm(FusedRMSNorm):
    """Layer normalisation over the last dimensions; the output has the input's dtype."""

    has_bias = True

    def _norm(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        weight, bias = (None if p is None else p.to(dtype).to(wide) for p in (self.weight, self.bias))
        return F.layer_norm(x.to(wide), self.normalized_shape, weight, bias, self.eps).to(self._output(dtype))


class MixedFusedRMSNorm(FusedRMSNorm):
    """FusedRMSNorm whose output has the weight's dtype."""

    def _output(self, dtype: torch.dtype) -> torch.dtype:
        return self.weight.dtype


class MixedFusedLayerNorm(FusedLayerNorm):
    """FusedLayerNorm whose output has the weight's dtype."""

    def _output(self, dtype: torch.dtype) -> torch.dtype:
        return self.weight.dtype
