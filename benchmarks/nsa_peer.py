"""One thread's seconds of the package native-sparse-attention-pytorch and of ours: a whole layer's forward, as JSON.

Runs in the peers' environment; see nsa_speed.py. Both layers project, compress, choose, attend and gate; 16 heads of 64
over one key head, blocks of 64 of which 16 are taken, a window of 512.
"""

import json
import sys
import time
from collections.abc import Sequence

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


class Watch:
    """Processor seconds of a layer, and of those of its modules that project."""

    def __init__(self, layer: nn.Module, projections: Sequence[nn.Module]) -> None:
        self.layer, self.inside = layer.eval(), 0.0
        for module in projections:
            module.register_forward_pre_hook(lambda *_: self.add(-time.process_time()))
            module.register_forward_hook(lambda *_: self.add(time.process_time()))

    def add(self, seconds: float) -> None:
        self.inside += seconds

    def run(self, x: torch.Tensor) -> tuple[float, float]:
        """The whole, and the whole without projections."""
        self.inside, start = 0.0, time.process_time()
        self.layer(x)
        whole = time.process_time() - start
        return whole, whole - self.inside


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
    ours = Ours()
    both = [Watch(theirs, [theirs.to_qkv, theirs.combine_heads]), Watch(ours, [ours.project, ours.out])]
    found: dict[int, dict[str, list[float]]] = {}
    with torch.inference_mode():
        for length in (2048, 8192):
            x = torch.randn(1, length, WIDTH)
            rounds = [[watch.run(x) for watch in both] for _ in range(int(sys.argv[1]) if length < 8192 else 1)]
            for i, what in enumerate(("a whole layer", "without projections")):
                found.setdefault(length, {})[what] = [min(r[w][i] for r in rounds) for w in range(2)]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
