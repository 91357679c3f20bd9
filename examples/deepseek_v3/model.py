"""A model of DeepSeek-V3's shape (arXiv:2412.19437): 61 layers, latent attention, 256 experts of which 8 work.

Plain PyTorch, one device, no kernels of its own. Routing is balanced and fixed: every expert gets
`tokens * 8 / 256` tokens, so that the shapes do not depend on data and the model runs where there is none. The experts
of a layer are one parameter each for gate, up and down projection, as grouped products want them. Multi-token
prediction is left out.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    layers: int = 61
    dense_layers: int = 3
    width: int = 7168
    heads: int = 128
    query_rank: int = 1536
    latent_rank: int = 512
    plain_head: int = 128  # part of a head without position
    rotary_head: int = 64  # part with
    value_head: int = 128
    dense_width: int = 18432
    experts: int = 256
    active: int = 8
    expert_width: int = 2048
    words: int = 129280


class LatentAttention(nn.Module):
    """Multi-head latent attention in its training form: (batch, length, width) → the same."""

    def __init__(self, c: Config, **where):
        super().__init__()
        self.c = c
        head = c.plain_head + c.rotary_head
        self.query_down = nn.Linear(c.width, c.query_rank, bias=False, **where)
        self.query_norm = nn.RMSNorm(c.query_rank, **where)
        self.query_up = nn.Linear(c.query_rank, c.heads * head, bias=False, **where)
        self.latent_down = nn.Linear(c.width, c.latent_rank + c.rotary_head, bias=False, **where)
        self.latent_norm = nn.RMSNorm(c.latent_rank, **where)
        self.latent_up = nn.Linear(c.latent_rank, c.heads * (c.plain_head + c.value_head), bias=False, **where)
        self.out = nn.Linear(c.heads * c.value_head, c.width, bias=False, **where)

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        c, (batch, length, _) = self.c, x.shape
        q = self.query_up(self.query_norm(self.query_down(x))).view(batch, length, c.heads, -1).transpose(1, 2)
        q_plain, q_turn = q.split([c.plain_head, c.rotary_head], dim=-1)
        latent, k_turn = self.latent_down(x).split([c.latent_rank, c.rotary_head], dim=-1)
        kv = self.latent_up(self.latent_norm(latent)).view(batch, length, c.heads, -1).transpose(1, 2)
        k_plain, v = kv.split([c.plain_head, c.value_head], dim=-1)
        k_turn = rotate(k_turn.unsqueeze(1), turn).expand(-1, c.heads, -1, -1)
        q, k = torch.cat([q_plain, rotate(q_turn, turn)], dim=-1), torch.cat([k_plain, k_turn], dim=-1)
        scores = (q @ k.transpose(-1, -2)) * (c.plain_head + c.rotary_head) ** -0.5
        future = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, length, -1))


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotary positions: pairs of (..., length, 2n) turned by angles (length, n)."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = turn.cos().to(x.dtype), turn.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int, **where):
        super().__init__()
        self.gate, self.up = (nn.Linear(width, hidden, bias=False, **where) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False, **where)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Experts(nn.Module):
    """A shared expert, and routed ones that each get the same number of tokens."""

    def __init__(self, c: Config, **where):
        super().__init__()
        self.c = c
        self.router = nn.Linear(c.width, c.experts, bias=False, **where)
        shape = (c.experts, c.width, c.expert_width)
        self.gate, self.up = (nn.Parameter(torch.empty(shape, **where)) for _ in range(2))
        self.down = nn.Parameter(torch.empty(c.experts, c.expert_width, c.width, **where))
        self.shared = FeedForward(c.width, c.expert_width, **where)
        for p in (self.gate, self.up, self.down):
            nn.init.normal_(p, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        c, flat = self.c, x.reshape(-1, x.shape[-1])
        each = max(1, flat.shape[0] * c.active // c.experts)
        chosen = torch.arange(c.experts * each, device=x.device) % flat.shape[0]
        scores = self.router(flat).sigmoid()
        experts = torch.arange(c.experts, device=x.device).repeat_interleave(each, output_size=c.experts * each)
        share = scores[chosen, experts].unsqueeze(-1)
        tokens = flat[chosen].view(c.experts, each, -1)
        hidden = F.silu(torch.bmm(tokens, self.gate)) * torch.bmm(tokens, self.up)
        worked = torch.bmm(hidden, self.down).view(c.experts * each, -1)
        return self.shared(x) + torch.zeros_like(flat).index_add(0, chosen, worked * share).view_as(x)


class Layer(nn.Module):
    def __init__(self, c: Config, *, dense: bool, **where):
        super().__init__()
        self.attention_norm, self.norm = nn.RMSNorm(c.width, **where), nn.RMSNorm(c.width, **where)
        self.attention = LatentAttention(c, **where)
        self.feed = FeedForward(c.width, c.dense_width, **where) if dense else Experts(c, **where)

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), turn)
        return x + self.feed(self.norm(x))


class DeepSeekV3(nn.Module):
    """Token ids (batch, length) → mean cross entropy with the next tokens."""

    def __init__(self, c: Config, **where):
        super().__init__()
        self.c = c
        self.words = nn.Embedding(c.words, c.width, **where)
        self.layers = nn.ModuleList(Layer(c, dense=i < c.dense_layers, **where) for i in range(c.layers))
        self.norm = nn.RMSNorm(c.width, **where)
        self.head = nn.Linear(c.width, c.words, bias=False, **where)

    def forward(self, ids: Tensor, following: Tensor) -> Tensor:
        half = self.c.rotary_head // 2
        rates = 10000.0 ** (-torch.arange(half, device=ids.device) / half)
        turn = torch.arange(ids.shape[1], device=ids.device)[:, None] * rates
        x = self.words(ids)
        for layer in self.layers:
            x = layer(x, turn)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), following.flatten())
