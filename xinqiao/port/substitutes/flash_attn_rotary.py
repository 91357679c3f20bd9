"""The rotary embedding of flash_attn.layers.rotary in plain PyTorch.

Source: docstrings of flash_attn/layers/rotary.py, https://github.com/Dao-AILab/flash-attention
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["apply_rotary_emb", "apply_rotary_emb_func", "apply_rotary_emb_torch"]


def rotate(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False) -> Tensor:
    """Turn pairs of the first dimensions of x by angles; computed in float32, or float64 for float64.

    x            (..., tokens, heads, headdim)
    cos, sin     (..., tokens or 1, rotary dim / 2)
    interleaved  pairs are neighbours (0, 1), (2, 3), ...; else halves (0, r/2), (1, r/2 + 1), ...
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    size = 2 * cos.shape[-1]
    turned, rest = x[..., :size].to(wide), x[..., size:]
    c, s = cos.to(wide).unsqueeze(-2), sin.to(wide).unsqueeze(-2)
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, dim=-1)
    first, second = a * c - b * s, a * s + b * c
    out = torch.stack((first, second), -1).flatten(-2) if interleaved else torch.cat((first, second), -1)
    return torch.cat((out.to(x.dtype), rest), -1)


def apply_rotary_emb(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    interleaved: bool = False,
    inplace: bool = False,
    seqlen_offsets: int | Tensor = 0,
    cu_seqlens: Tensor | None = None,
    max_seqlen: int | None = None,
) -> Tensor:
    """x (batch, tokens, heads, headdim), or (all tokens, heads, headdim) with cu_seqlens → the same, rotated.

    cos, sin        (positions, rotary dim / 2)
    seqlen_offsets  position of the first token, for all or (batch,) for each
    cu_seqlens      (sequences + 1,): where each sequence begins; positions start again there
    """
    positions = _positions(x, seqlen_offsets, cu_seqlens)
    out = rotate(x, cos[positions], sin[positions], interleaved)
    return x.copy_(out) if inplace else out


def _positions(x: Tensor, offsets: int | Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """(tokens,) or (batch, tokens), int64."""
    if cu_seqlens is None:
        tokens = torch.arange(x.shape[1], device=x.device)
        return tokens + (offsets if isinstance(offsets, int) else offsets[:, None].to(torch.int64))
    tokens = torch.arange(x.shape[0], device=x.device)
    starts = cu_seqlens.to(torch.int64)
    sequence = torch.bucketize(tokens, starts[1:], right=True)
    tokens = tokens - starts[sequence]
    return tokens + (offsets if isinstance(offsets, int) else offsets.to(torch.int64)[sequence])


def apply_rotary_emb_torch(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False) -> Tensor:
    """cos, sin (tokens, rotary dim / 2) or (batch, tokens, rotary dim / 2), one row a token of x."""
    return rotate(x, cos, sin, interleaved)


apply_rotary_emb_func = apply_rotary_emb
