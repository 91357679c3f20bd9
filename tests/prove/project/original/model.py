"""A small transformer classifier with rotary positions, grouped heads and dropout."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def rotary(x):
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[2], device=x.device)[:, None] / 100.0 ** (torch.arange(half, device=x.device) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], dim=-1)


class Attention(nn.Module):
    def __init__(self, width, heads, groups):
        super().__init__()
        self.heads, self.groups = heads, groups
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width // groups)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        B, T, C = x.shape
        q = self.q(x).view(B, T, self.heads, -1).transpose(1, 2)
        k, v = self.kv(x).chunk(2, dim=-1)
        k = k.view(B, T, self.heads // self.groups, -1).transpose(1, 2).repeat_interleave(self.groups, dim=1)
        v = v.view(B, T, self.heads // self.groups, -1).transpose(1, 2).repeat_interleave(self.groups, dim=1)
        q = rotary(q)
        k = rotary(k)
        y = F.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=True)
        return self.out(y.transpose(1, 2).reshape(B, T, C).to(x.dtype))


class Block(nn.Module):
    def __init__(self, width, heads, groups):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, groups)
        self.norm2 = nn.LayerNorm(width, eps=1e-5)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")))


class Classifier(nn.Module):
    def __init__(self, words=32, classes=8, width=32):
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(Block(width, 4, 2) for _ in range(2))
        self.head = nn.Linear(width, classes)
        self.register_buffer("weights", torch.linspace(0.5, 1.5, classes))

    def forward(self, ids, targets):
        x = self.words(ids)
        for block in self.blocks:
            x = block(x)
        logits = self.head(x.mean(1))
        loss = F.cross_entropy(logits.float(), targets, self.weights)
        return logits, loss
