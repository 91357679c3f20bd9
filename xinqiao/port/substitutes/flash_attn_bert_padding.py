"""Padding and its removal, as flash_attn.bert_padding has them.

Source: docstrings of flash_attn/bert_padding.py (version 2.7), https://github.com/Dao-AILab/flash-attention
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["index_first_axis", "index_put_first_axis", "pad_input", "unpad_input"]


def index_first_axis(input: Tensor, indices: Tensor) -> Tensor:
    """Rows of input (rows, ...) at indices (n,) → (n, ...)."""
    return input[indices]


def index_put_first_axis(values: Tensor, indices: Tensor, first_axis_dim: int) -> Tensor:
    """values (n, ...) written to the rows `indices` (n,) of zeros (first_axis_dim, ...)."""
    return values.new_zeros(first_axis_dim, *values.shape[1:]).index_put((indices,), values)


def unpad_input(
    hidden_states: Tensor, attention_mask: Tensor, unused_mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """Take the tokens of a padded batch out and put them end to end.

    hidden_states   (batch, length, ...)
    attention_mask  (batch, length), bool or int, 1: a token
    unused_mask     the same, 1: no token, but its place is kept
    return          tokens (n, ...); their indices (n,) in the flat batch; where sequences begin (batch + 1,) int32;
                    the longest's length; tokens of each sequence (batch,) int32. Before version 2.7 without the last.
    """
    used = attention_mask.sum(-1, dtype=torch.int32)
    kept = attention_mask if unused_mask is None else attention_mask + unused_mask
    lengths = kept.sum(-1, dtype=torch.int32)
    indices = torch.nonzero(kept.flatten()).flatten()
    begins = F.pad(torch.cumsum(lengths, 0, dtype=torch.int32), (1, 0))
    return hidden_states.flatten(0, 1)[indices], indices, begins, int(lengths.max()), used


def pad_input(hidden_states: Tensor, indices: Tensor, batch: int, seqlen: int) -> Tensor:
    """Tokens (n, ...) back into a padded batch (batch, seqlen, ...), zero where there is none."""
    flat = index_put_first_axis(hidden_states, indices, batch * seqlen)
    return flat.reshape(batch, seqlen, *flat.shape[1:])
