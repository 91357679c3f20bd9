"""DeepSeek-V3.2's sparse attention as masked dense attention in float64, and how far kernels may be from it."""

import torch

from xinqiao.ops.dsa import dsa_quantize

EPSILON = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9}  # half the distance from 1 to the next number


def unpaged(cache, table):
    return cache if table is None else torch.stack([torch.cat([cache[page] for page in row]) for row in table.tolist()])


def counts(choice, tokens):
    """How often each token is chosen, float64 [batch, length, tokens]."""
    found = torch.zeros(*choice.shape[:2], tokens + 1, dtype=torch.float64)
    kept = torch.where((choice >= 0) & (choice < tokens), choice, tokens).long()
    return found.scatter_add(-1, kept, torch.ones(kept.shape, dtype=torch.float64))[..., :tokens]


def everything(batch, length, tokens, start=0):
    """Choice of all tokens up to the query's own."""
    place = torch.arange(tokens, dtype=torch.int32)
    return torch.where(place <= start + torch.arange(length)[:, None], place, -1).expand(batch, -1, -1)


def dense(q, latent, choice, d_v, scale):
    """Out and lse. A token's count multiplies its power in the softmax."""
    often = counts(choice, latent.shape[1])[:, :, None]
    scores = torch.einsum("bthd,bsd->bths", q.double(), latent.double()) * scale + often.log()
    lse = scores.logsumexp(-1)
    p = torch.where(often > 0, (scores - lse[..., None]).exp(), 0)
    return torch.einsum("bths,bsd->bthd", p, latent[..., :d_v].double()), lse


class Bound:
    """How far fp32 and bf16 results may be from the exact ones, to first order.

    A sum of n products in any order is off by n · ε times the sum of their magnitudes. Scores are off by
    δ = (d + 2) · ε · max Σ |q| |k| · scale; a probability by 2 δ, once for its own score and once for all in the
    denominator, and by (n + 8) · ε for that sum, the exponential and the quotient. Everything after that is
    linear: sums of at most `most` products, relative to the same expression of magnitudes. bf16 adds the
    rounding of the probabilities (of `out` in the gradients) and of the result: two halves of 2^-8.
    """

    def __init__(self, q, latent, choice, d_v, scale, dtype):
        self.q, self.latent, self.often = q.double(), latent.double(), counts(choice, latent.shape[1])[:, :, None]
        self.d_v, self.scale = d_v, scale
        d, n = q.shape[-1], choice.shape[-1]
        magnitude = torch.einsum("bthd,bsd->bths", self.q.abs(), self.latent.abs()) * scale
        self.score = (d + 2) * EPSILON[torch.float32] * magnitude.max().item()
        most = max(n, q.shape[1] * q.shape[2]) + d + d_v + 16
        self.part = 2 * self.score + (n + 8 + most) * EPSILON[torch.float32]
        self.part += 0 if dtype == torch.float32 else 2 * EPSILON[dtype] * 1.01
        out, self.lse = dense(q, latent, choice, d_v, scale)
        scores = torch.einsum("bthd,bsd->bths", self.q, self.latent) * scale + self.often.log()
        self.p = torch.where(self.often > 0, (scores - self.lse[..., None]).exp(), 0)
        self.out = out

    def forward(self):
        return self.part * (self.p @ self.latent[:, None, :, : self.d_v].abs())

    def backward(self, d_out):
        values = self.latent[:, None, :, : self.d_v].abs()
        share = (d_out.double().abs() * (self.p @ values)).sum(-1)
        slope = self.p * (d_out.double().abs() @ values.mT + share[..., None]) * self.scale
        d_q = slope @ self.latent[:, None].abs()
        d_latent = torch.einsum("bths,bthd->bsd", slope, self.q.abs())
        d_latent[..., : self.d_v] += torch.einsum("bths,bthd->bsd", self.p, d_out.double().abs())
        return 2 * self.part * d_q, 2 * self.part * d_latent


def indexer(batch, length, heads, d, tokens, seed=0):
    """q, k, weights, q_scale, k_scale as an indexer has them."""
    generator = torch.Generator().manual_seed(seed)
    q, q_scale = dsa_quantize(torch.randn(batch, length, heads, d, generator=generator))
    k, k_scale = dsa_quantize(torch.randn(batch, tokens, d, generator=generator))
    return q, k, torch.randn(batch, length, heads, generator=generator), q_scale, k_scale


def in_pages(x, page, seed=0):
    """A cache [batch, tokens, ...] as pages in some order, with unused ones between, and its block table."""
    batch, tokens = x.shape[:2]
    each = -(-tokens // page)
    where = torch.randperm(batch * each + 3, generator=torch.Generator().manual_seed(seed))[: batch * each]
    cache = torch.zeros(batch * each + 3, page, *x.shape[2:]).to(x.dtype)
    padded = torch.zeros(batch, each * page, *x.shape[2:]).to(x.dtype)
    padded[:, :tokens] = x
    for to, rows in zip(where.tolist(), padded.view(batch * each, page, *x.shape[2:]), strict=True):
        cache[to] = rows
    return cache, where.view(batch, each).to(torch.int32)
