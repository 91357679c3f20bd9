"""Which blocks of a kernel fit a chip's on-chip memory."""

import torch

from xinqiao.ops.triton.launch import above

EXACT = 64  # keys at once where choices are computed


def attention(
    group: int, d_k: int, d_v: int, dtype: torch.dtype, device: torch.device, *, chosen: bool
) -> tuple[int, int]:
    """(rows of q, keys) of a tile."""
    return above(group) if chosen else above(group, 64), 64 if dtype.itemsize == 2 and max(d_k, d_v) <= 128 else 32


def latent(heads: int, d: int, d_v: int, dtype: torch.dtype, device: torch.device) -> tuple[int, int]:
    """(heads, tokens) of a tile."""
    return min(above(heads), 64), 32 if d > 128 else 64
