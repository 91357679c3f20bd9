"""Attention and SwiGLU of xformers.ops in plain PyTorch.

`op` chooses a kernel there and changes nothing here.

Source: docstrings of xformers/ops/fmha/__init__.py, attn_bias.py and swiglu_op.py,
https://github.com/facebookresearch/xformers
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xinqiao.port.substitutes.attention import Rules, attend

__all__ = [
    "LowerTriangularFromBottomRightMask",
    "LowerTriangularMask",
    "LowerTriangularMaskWithTensorBias",
    "SwiGLU",
    "memory_efficient_attention",
    "swiglu",
    "unbind",
]


class LowerTriangularMask:
    """Query i sees keys 0 to i (top-left aligned)."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Arguments are taken and not used, as there."""

    def add_bias(self, bias: Tensor) -> LowerTriangularMaskWithTensorBias:
        return LowerTriangularMaskWithTensorBias(bias)

    def materialize(
        self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> Tensor:
        """0 where a query sees a key, else -inf; shape (..., queries, keys)."""
        return torch.full(shape, float("-inf"), dtype=dtype, device=device).triu(self._diagonal(*shape[-2:]) + 1)

    def _diagonal(self, queries: int, keys: int) -> int:
        return 0


class LowerTriangularFromBottomRightMask(LowerTriangularMask):
    """The last query sees all keys, every earlier one a key less."""

    def _diagonal(self, queries: int, keys: int) -> int:
        return keys - queries


class LowerTriangularMaskWithTensorBias(LowerTriangularMask):
    """LowerTriangularMask plus a tensor that broadcasts to (batch, heads, queries, keys)."""

    def __init__(self, bias: Tensor) -> None:
        self._bias = bias

    def materialize(
        self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
    ) -> Tensor:
        return super().materialize(shape, dtype, device) + self._bias


def memory_efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Tensor | LowerTriangularMask | None = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: object = None,
    output_dtype: torch.dtype | None = None,
) -> Tensor:
    """Attention in the layout of xformers.

    query      (batch, queries, heads, dim), (batch, queries, dim), or (batch, queries, groups, heads, dim)
    key, value the same with keys instead of queries
    attn_bias  added to the scores: a tensor that broadcasts to (batch, heads, queries, keys) — (batch, queries, keys)
               for three dimensions — or one of the masks of this file
    p          probability of dropout
    return     as query, with the last dimension of value
    """
    shape = query.shape
    q, k, v = (_four_dimensions(t) for t in (query, key, value))
    if query.dim() == 5 and isinstance(attn_bias, Tensor):
        attn_bias = attn_bias.flatten(1, 2)
    if query.dim() == 3 and isinstance(attn_bias, Tensor) and attn_bias.dim() == 3:
        attn_bias = attn_bias.unsqueeze(1)
    if attn_bias is None or type(attn_bias) is LowerTriangularFromBottomRightMask:
        out = attend(q, k, v, Rules(scale, causal=attn_bias is not None, dropout=p))
    else:
        out = _biased(q, k, v, attn_bias, p, scale)
    return out.reshape(*shape[:-1], value.shape[-1]).to(output_dtype or query.dtype)


def _four_dimensions(x: Tensor) -> Tensor:
    if x.dim() == 3:
        return x.unsqueeze(2)
    return x.flatten(2, 3) if x.dim() == 5 else x


def _biased(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | LowerTriangularMask, p: float, scale: float | None
) -> Tensor:
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    if type(bias) is LowerTriangularMask:
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True, scale=scale)
    else:
        shape = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
        added = bias.materialize(shape, q.dtype, q.device) if isinstance(bias, LowerTriangularMask) else bias
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=added.to(q.dtype), dropout_p=p, scale=scale)
    return out.transpose(1, 2)


def unbind(x: Tensor, dim: int) -> tuple[Tensor, ...]:
    """torch.unbind."""
    return x.unbind(dim)


def swiglu(
    x: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None,
    w3: Tensor,
    b3: Tensor | None,
    *,
    op: object = None,
) -> Tensor:
    """x (..., in) → (..., out): (silu(x w1 + b1) * (x w2 + b2)) w3 + b3, the weights as F.linear has them."""
    return F.linear(F.silu(F.linear(x, w1, b1)) * F.linear(x, w2, b2), w3, b3)


class SwiGLU(nn.Module):
    """The module of `swiglu`, with the same parameter names as there: w12 and w3, or w1, w2 and w3 where not packed."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int | None = None,
        bias: bool = True,
        *,
        _pack_weights: bool = True,
    ) -> None:
        super().__init__()
        out_features = out_features or in_features
        hidden_features = hidden_features or in_features
        self.w12 = nn.Linear(in_features, 2 * hidden_features, bias=bias) if _pack_weights else None
        if not _pack_weights:
            self.w1 = nn.Linear(in_features, hidden_features, bias=bias)
            self.w2 = nn.Linear(in_features, hidden_features, bias=bias)
        self.w3 = nn.Linear(hidden_features, out_features, bias=bias)
        self.in_features, self.hidden_features, self.out_features = in_features, hidden_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        if self.w12 is not None:
            gate, up = self.w12(x).chunk(2, dim=-1)
        else:
            gate, up = self.w1(x), self.w2(x)
        result: Tensor = self.w3(F.silu(gate) * up)
        return result
