"""DeepSeek-V3's shape in plain PyTorch: latent attention, a mixture of experts, 671.0 billion parameters.

The numbers are those of the published config.json. Two things are simpler than in the original:

- Routing is static and balanced. Slot k of token t goes to expert (8 t + k) mod 256, always; the router's scores still
  weigh what the experts answer, so the router trains. The original chooses the experts by score, so that its shapes
  depend on the data; a balanced choice is what its training aims at. The number of tokens must fill all experts evenly.
- No prediction of a second token, no FP8: weights, gradients and optimizer state have one dtype.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Sizes; the defaults are the published ones."""

    vocabulary: int = 129280
    hidden: int = 7168
    layers: int = 61
    dense_layers: int = 3  # the first ones have no experts
    dense_width: int = 18432
    heads: int = 128
    q_rank: int = 1536
    kv_rank: int = 512
    nope: int = 128  # of each head's query and key: without position
    rope: int = 64  # and with
    value: int = 128
    experts: int = 256
    shared_experts: int = 1
    top_k: int = 8
    expert_width: int = 2048
    route_scale: float = 2.5
    theta: float = 10000.0


class Attention(nn.Module):
    """Multi-head latent attention: queries, keys and values all pass through a narrow vector per token."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.c = c
        self.q_down = nn.Linear(c.hidden, c.q_rank, bias=False)
        self.q_norm = nn.RMSNorm(c.q_rank, eps=1e-6)
        self.q_up = nn.Linear(c.q_rank, c.heads * (c.nope + c.rope), bias=False)
        self.kv_down = nn.Linear(c.hidden, c.kv_rank + c.rope, bias=False)
        self.kv_norm = nn.RMSNorm(c.kv_rank, eps=1e-6)
        self.kv_up = nn.Linear(c.kv_rank, c.heads * (c.nope + c.value), bias=False)
        self.out = nn.Linear(c.heads * c.value, c.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        c, (batch, length, _) = self.c, x.shape
        q = self.q_up(self.q_norm(self.q_down(x))).view(batch, length, c.heads, -1).transpose(1, 2)
        q_nope, q_rope = q.split([c.nope, c.rope], dim=-1)
        latent, k_rope = self.kv_down(x).split([c.kv_rank, c.rope], dim=-1)
        kv = self.kv_up(self.kv_norm(latent)).view(batch, length, c.heads, -1).transpose(1, 2)
        k_nope, v = kv.split([c.nope, c.value], dim=-1)
        k_rope = rotate(k_rope.unsqueeze(1), cos, sin).expand(-1, c.heads, -1, -1)  # one for all heads
        q = torch.cat([q_nope, rotate(q_rope, cos, sin)], dim=-1)
        k = torch.cat([k_nope, k_rope], dim=-1)
        v = F.pad(v, (0, c.nope + c.rope - c.value))  # flash kernels want heads of one size
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)[..., : c.value]
        return self.out(y.transpose(1, 2).reshape(batch, length, c.heads * c.value))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position: x (..., length, rope) turned by the angles of its places; cos and sin (length, rope / 2)."""
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


class SwiGLU(nn.Module):
    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(hidden, 2 * width, bias=False)
        self.down = nn.Linear(width, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Experts(nn.Module):
    """One shared expert and `experts` routed ones, these stacked so that a layer is two batched products."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.c = c
        self.router = nn.Linear(c.hidden, c.experts, bias=False)
        self.gate_up = nn.Parameter(torch.empty(c.experts, c.hidden, 2 * c.expert_width))
        self.down = nn.Parameter(torch.empty(c.experts, c.expert_width, c.hidden))
        self.shared = SwiGLU(c.hidden, c.shared_experts * c.expert_width)

    def forward(self, x: Tensor) -> Tensor:
        c, tokens = self.c, x.flatten(0, 1)
        each = tokens.shape[0] * c.top_k // c.experts  # tokens of one expert
        slots = tokens.unsqueeze(1).expand(-1, c.top_k, -1).reshape(each, c.experts, c.hidden).transpose(0, 1)
        gate, up = torch.bmm(slots, self.gate_up).chunk(2, dim=-1)
        answers = torch.bmm(F.silu(gate) * up, self.down).transpose(0, 1).reshape(-1, c.top_k, c.hidden)
        weights = self.weights(tokens, each)
        return torch.bmm(weights.unsqueeze(1), answers).view(x.shape) + self.shared(x)

    def weights(self, tokens: Tensor, each: int) -> Tensor:
        """(tokens, top_k): the router's scores for the experts that each token goes to, scaled to a fixed sum."""
        c = self.c
        scores = self.router(tokens).sigmoid().view(each, c.experts // c.top_k, c.experts // c.top_k, c.top_k)
        chosen = scores.diagonal(dim1=1, dim2=2).transpose(1, 2).reshape(-1, c.top_k)
        return chosen * (c.route_scale / chosen.sum(dim=-1, keepdim=True))


class Block(nn.Module):
    def __init__(self, c: Config, *, dense: bool) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.RMSNorm(c.hidden, eps=1e-6), Attention(c)
        self.feed_norm = nn.RMSNorm(c.hidden, eps=1e-6)
        self.feed = SwiGLU(c.hidden, c.dense_width) if dense else Experts(c)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feed(self.feed_norm(x))


class DeepSeekV3(nn.Module):
    """Token ids (batch, length) and the next tokens (batch, length) → mean cross entropy.

    batch * length * top_k must be a multiple of the number of experts.
    """

    def __init__(self, c: Config, length: int) -> None:
        super().__init__()
        self.words = nn.Embedding(c.vocabulary, c.hidden)
        self.blocks = nn.ModuleList(Block(c, dense=i < c.dense_layers) for i in range(c.layers))
        self.norm = nn.RMSNorm(c.hidden, eps=1e-6)
        self.head = nn.Linear(c.hidden, c.vocabulary, bias=False)
        speeds = c.theta ** (-torch.arange(0, c.rope, 2, dtype=torch.float32) / c.rope)
        angles = torch.outer(torch.arange(length, dtype=torch.float32), speeds)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.006)

    def forward(self, ids: Tensor, following: Tensor) -> Tensor:
        x = self.words(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1).float(), following.flatten())
