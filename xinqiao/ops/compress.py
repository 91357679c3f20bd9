"""Compression of keys and values, φ of arXiv 2502.11089 (3.3.1): one row for `length` tokens, every `stride` tokens."""

import torch
from torch import Tensor, nn

from xinqiao.errors import InputError, nearest
from xinqiao.ops.rules import PAPER, Choosing
from xinqiao.ops.shapes import Sizes

KINDS = {
    "mlp": "a learned layer, GELU and another over the tokens' rows one after the other, each with a learned position",
    "linear": "a learned weight for each place of a token, [length, kv_heads]",
    "mean": "the mean of the tokens; nothing is learned",
}


class Compression(nn.Module):
    """φ for rows of d numbers.

    kind    a key of KINDS; 'mlp' is the paper's, which names neither its activation nor its width
    heads   key heads, of which 'linear' has a weight each; 'mlp' is one for all
    hidden  width of 'mlp'; d by default
    """

    def __init__(
        self, d: int, rule: Choosing = PAPER, *, kind: str = "mlp", heads: int = 1, hidden: int | None = None
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise InputError(f"Compression: no kind {kind!r}{nearest(kind, KINDS)}; there are {', '.join(KINDS)}")
        self.rule, self.d, self.kind = rule.checked("Compression"), d, kind
        if kind == "mlp":
            self.position = nn.Parameter(torch.zeros(self.rule.length, d))
            wide = hidden or d
            self.layers = nn.Sequential(nn.Linear(self.rule.length * d, wide), nn.GELU(), nn.Linear(wide, d))
        elif kind == "linear":
            self.weight = nn.Parameter(torch.full((self.rule.length, heads), 1 / self.rule.length))

    def forward(self, rows: Tensor) -> Tensor:
        """[batch, length, kv_heads, d] → [batch, rule.keys(length), kv_heads, d]."""
        Sizes("Compression").check("rows", rows, f"batch length kv_heads {self.d}")
        if rows.shape[1] < self.rule.length:
            return rows[:, :0]
        runs = rows.unfold(1, self.rule.length, self.rule.stride)  # [batch, keys, kv_heads, d, length]
        by_kind = {"mlp": self._mlp, "linear": self._linear, "mean": self._mean}
        return by_kind[self.kind](runs)

    def _mlp(self, runs: Tensor) -> Tensor:
        placed = runs.transpose(-1, -2) + self.position
        found: Tensor = self.layers(placed.flatten(-2))
        return found

    def _mean(self, runs: Tensor) -> Tensor:
        return runs.mean(-1)

    def _linear(self, runs: Tensor) -> Tensor:
        found: Tensor = torch.einsum("bchdl,lh->bchd", runs, self.weight.to(runs.dtype))
        return found
