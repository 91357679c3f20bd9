"""What a model silently does when it moves between implementations of native sparse attention.

Published implementations read equation 9 of arXiv 2502.11089 differently: which compressed keys count for a block of
tokens. The same weights then choose other blocks. This prints how often, for the paper's sizes at 8,192 tokens.

    python examples/equation_9.py
"""

import torch

from xinqiao.ops.nsa import nsa_compressed, sequences
from xinqiao.ops.rules import Choosing, offsets

TOKENS, HEADS, D, QUERIES = 8192, 16, 64, 1024
FORCED = 3  # blocks that every reading takes
READINGS = ("overlap", "forward", "literal")


def inputs(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries of the last tokens, and compressed keys: of unrelated keys by a layer, or the means of keys that
    change slowly."""
    make = torch.Generator().manual_seed(1)
    rule = Choosing()
    if kind == "random":
        runs = torch.randn(TOKENS, D, generator=make).unfold(0, rule.length, rule.stride).flatten(1)
        first = torch.randn(runs.shape[1], D, generator=make) / runs.shape[1] ** 0.5
        keys = torch.relu(runs @ first) @ torch.randn(D, D, generator=make) / D**0.5
        return torch.randn(QUERIES, HEADS, D, generator=make), keys
    steps = torch.randn(TOKENS, D, generator=make)
    rows, row = torch.empty(TOKENS, D), torch.zeros(D)
    for t in range(TOKENS):
        row = 0.98 * row + 0.2 * steps[t]
        rows[t] = row * 1.5
    return torch.randn(QUERIES, HEADS, D, generator=make) * 1.5, rows.unfold(0, rule.length, rule.stride).mean(-1)


def chosen(q: torch.Tensor, keys: torch.Tensor, importance: str) -> torch.Tensor:
    rule = Choosing(importance=importance)
    rows = sequences([QUERIES], [len(keys)], [TOKENS - QUERIES])
    sizes = [rule.length, rule.stride, rule.block, rule.blocks, rule.initial, rule.local]
    return nsa_compressed(q, keys[:, None], keys[:, None], rows, sizes, importance, D**-0.5, None)[2][:, 0]


def by_logits(q: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """The reading of native-sparse-attention-pytorch: the mean logit of the compressed keys that begin in a block."""
    rule = Choosing()
    ratio, found = rule.block // rule.stride, []
    for t in range(TOKENS - QUERIES, TOKENS):
        own, seen = t // rule.block, rule.keys(t + 1)
        logits = (q[t - TOKENS + QUERIES] @ keys[:seen].T * D**-0.5).mean(0)
        whole = torch.nn.functional.pad(logits, (0, (own + 1) * ratio - seen), value=-30.0)
        score = whole.view(-1, ratio).mean(1)
        score[: rule.initial] = score[own - rule.local + 1 :] = torch.inf
        found.append(score.topk(rule.blocks).indices.sort().values)
    return torch.stack(found)


def overlap(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """Share of queries with the same blocks, and of the blocks left free that both take."""
    both = (a[:, :, None] == b[:, None, :]).any(2).sum(1)
    return (both == a.shape[1]).float().mean().item(), ((both - FORCED) / (a.shape[1] - FORCED)).mean().item()


def picture() -> None:
    places = range(-4, 5)
    print("What block j counts, of compressed keys 4j - 4 to 4j + 4:\n")
    print(" " * 10 + " ".join(f"{f'4j{p:+d}' if p else '4j':>5}" for p in places))
    for importance in READINGS:
        counted = dict(offsets(Choosing(importance=importance)))
        print(f"{importance:10}" + " ".join(f"{'▇' * counted.get(p, 0):>5}" for p in places))


def main() -> None:
    picture()
    print("\nAgainst `overlap`, the paper's: queries with the same blocks; free blocks that both take\n")
    for kind in ("random", "smooth"):
        q, keys = inputs(kind)
        expected = chosen(q, keys, "overlap")
        others = {name: chosen(q, keys, name) for name in READINGS[1:]} | {"mean logit": by_logits(q, keys)}
        for name, found in others.items():
            same, shared = overlap(expected, found)
            print(f"{kind} keys, {name:10}: {same:4.0%} {shared:4.0%}")


if __name__ == "__main__":
    main()
