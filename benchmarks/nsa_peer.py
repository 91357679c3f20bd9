"""One thread's seconds of the package native-sparse-attention-pytorch and of ours: a whole layer's forward, as JSON.

Runs in the peers' environment; see nsa_speed.py. Both layers project, compress, choose, attend and gate; 16 heads of 64
over one key head, blocks of 64 of which 16 are taken, a window of 512.
"""

import json
import sys
import time

import peers  # noqa: F401  before PyTorch: on the CPU alone
import torch
from native_sparse_attention_pytorch import SparseAttention
from torch import nn

from xinqiao.ops.compress import Compression
from xinqiao.ops.nsa import Branch, nsa_attention

WIDTH, HEADS, D = 1024, 16, 64


class Ours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, HEADS * D + 6 * D, bias=False)
        self.gate = nn.Linear(WIDTH, HEADS * 3)
        self.phi = nn.ModuleList((Compression(D), Compression(D)))
        self.out = nn.Linear(HEADS * D, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, *rows = self.project(x).split((HEADS * D, *[D] * 6), -1)
        ck, cv, *others = (r.unsqueeze(2) for r in rows)
        made = Branch(self.phi[0](ck), self.phi[1](cv))
        gates = self.gate(x).sigmoid().unflatten(-1, (HEADS, 3))
        q = q.unflatten(-1, (HEADS, D))
        return self.out(nsa_attention(q, made, Branch(*others[:2]), Branch(*others[2:]), gates).flatten(-2))


def seconds(layer: nn.Module, x: torch.Tensor) -> float:
    start = time.process_time()
    layer(x)
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    theirs = SparseAttention(
        dim=WIDTH,
        dim_head=D,
        heads=HEADS,
        kv_heads=1,
        sliding_window_size=512,
        compress_block_size=64,
        compress_block_sliding_stride=64,
        selection_block_size=64,
        num_selected_blocks=16,
        causal=True,
    )
    layers = {"peer": theirs.eval(), "ours": Ours().eval()}
    found: dict[int, dict[str, float]] = {}
    with torch.inference_mode():
        for length in (2048, 8192):
            x = torch.randn(1, length, WIDTH)
            for _ in range(int(sys.argv[1]) if length < 8192 else 1):
                for name, layer in layers.items():
                    took = seconds(layer, x)
                    found.setdefault(length, {})[name] = min(took, found.get(length, {}).get(name, took))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
