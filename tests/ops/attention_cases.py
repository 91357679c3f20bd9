"""Random inputs of native sparse attention, attention written independently in float64, and the bound of kernels."""

import torch

from xinqiao.ops.nsa import Branch, sequences
from xinqiao.ops.rules import Choosing

SMALL = Choosing(length=8, stride=4, block=16, blocks=5, initial=1, local=2)


def packed(seed, lengths, heads, groups, sizes, rule, starts=None, dtype=torch.float32):
    """q, keys and values of tokens, those compressed, and the sequences of both; `starts` tokens come first."""
    make = torch.Generator().manual_seed(seed)
    starts = starts or [0] * len(lengths)
    totals = [a + b for a, b in zip(lengths, starts, strict=True)]
    fewer = [rule.keys(n) for n in totals]

    def draw(*shape):
        return torch.randn(*shape, generator=make).to(dtype)

    d_k, d_v = sizes
    q = draw(sum(lengths), heads, d_k)
    tokens = draw(sum(totals), groups, d_k), draw(sum(totals), groups, d_v)
    keys = draw(sum(fewer), groups, d_k), draw(sum(fewer), groups, d_v)
    return q, tokens, keys, sequences(lengths, totals, starts), sequences(lengths, fewer, starts)


def layer(seed, batch, length, heads, groups, sizes, rule, dtype=torch.float32):
    """Arguments of nsa_attention."""
    make = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=make, dtype=torch.float64).to(dtype)

    def branch(rows):
        return Branch(draw(batch, rows, groups, sizes[0]), draw(batch, rows, groups, sizes[1]))

    q = draw(batch, length, heads, sizes[0])
    gates = torch.rand(batch, length, heads, 3, generator=make, dtype=torch.float64).to(dtype)
    return q, branch(rule.keys(length)), branch(length), branch(length), gates


def dense(q, k, v, visible, scale):
    """One sequence in float64; `visible(position in q, key head)` lists the keys that are seen."""
    out = torch.zeros(*q.shape[:2], v.shape[2], dtype=torch.float64)
    lse = torch.full(q.shape[:2], -torch.inf, dtype=torch.float64)
    each = q.shape[1] // k.shape[1]
    for t in range(q.shape[0]):
        for h in range(q.shape[1]):
            seen = visible(t, h // each)
            if seen:
                logits = k[seen, h // each].double() @ q[t, h].double() * scale
                out[t, h] = logits.softmax(0) @ v[seen, h // each].double()
                lse[t, h] = logits.logsumexp(0)
    return out, lse


def bound(q, k, v, scale, dtype=torch.float32):
    """How far an output computed in fp32 and rounded to `dtype` may be from the exact one.

    A logit is a sum of d products: it is off by at most (d + 2) u Σ|q||k|·scale, and so, twice, is a share's logarithm;
    a share's exponential and the sums over n keys add (n + 16) u; an output is an average of values.
    """
    u = torch.finfo(torch.float32).eps / 2
    each = q.shape[1] // k.shape[1]
    wide = k.repeat_interleave(each, 1).abs().double()
    logit = torch.einsum("thd,shd->ths", q.abs().double(), wide).max().item() * scale if len(k) else 0.0
    share = 2 * (q.shape[2] + 2) * u * logit + (len(k) + 16) * u
    largest = v.abs().max().item() if len(v) else 0.0
    return (share + torch.finfo(dtype).eps) * largest
