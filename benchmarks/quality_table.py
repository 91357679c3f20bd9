"""Scores of a model in several number formats, as a table."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BEGIN, END = "<!-- quality: begin -->", "<!-- quality: end -->"
SAMPLES = 20_000


class Score(NamedTuple):
    """One window: mean loss in nats, mean KL divergence from bf16, share of tokens whose first choice is bf16's."""

    loss: float
    apart: float
    same: float


class Row(NamedTuple):
    """One format. sqnr: of the middle one of its quantised weights, dB; None: all are exact."""

    name: str
    rule: str
    activations: str
    nbytes: int
    sqnr: float | None


def tables(scores: dict[Row, list[Score]]) -> str:
    """Markdown. The first row is what the others are compared with."""
    base = next(iter(scores.values()))
    weights = {row: found for row, found in scores.items() if row.activations == "-"}
    both = {row: found for row, found in scores.items() if row.activations != "-"}
    count = f"On {len(base)} windows of 1024 tokens."
    parts = (("Weights only; activations and arithmetic in fp32", weights), ("Weights and activations", both))
    return "\n\n".join([count, *(f"**{title}**\n\n{table(part, base)}" for title, part in parts)])


def table(scores: dict[Row, list[Score]], base: list[Score]) -> str:
    lines = [
        "| format | rule | activations | MB | weights, dB | perplexity | Δ [95 %] | KL, 1e-3 nats | same choice |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row, found in scores.items():
        loss, apart, same = (torch.tensor(column).double() for column in zip(*found, strict=True))
        sqnr = "exact" if row.sqnr is None else f"{row.sqnr:.1f}"
        lines.append(
            f"| {row.name} | {row.rule} | {row.activations} | {row.nbytes / 1e6:.0f} | {sqnr} "
            f"| {loss.mean().exp():.3f} | {difference(found, base)} | {apart.mean() * 1e3:.2f} | {same.mean():.1%} |"
        )
    return "\n".join(lines)


def difference(found: Sequence[Score], base: Sequence[Score]) -> str:
    """By how much perplexity is higher, and where 95 % of a paired bootstrap over windows lies."""
    if found is base:
        return "0"
    losses = torch.tensor([[score.loss for score in scores] for scores in (found, base)]).double()
    drawn = torch.randint(losses.shape[1], (SAMPLES, losses.shape[1]), generator=torch.Generator().manual_seed(0))
    low, high = higher(losses[:, drawn]).quantile(torch.tensor([0.025, 0.975]).double())
    return f"{higher(losses):+.3f} [{low:+.3f}, {high:+.3f}]"


def higher(losses: Tensor) -> Tensor:
    """[2, ..., windows] → the first's perplexity less the second's."""
    perplexities = losses.mean(-1).exp()
    return perplexities[0] - perplexities[1]
