"""Tiny decoders that find needles in 4,096 tokens: native sparse attention, and DeepSeek's with a mixture of experts.

    python examples/sparse_decoder.py nsa                # a minute on two cores
    python examples/sparse_decoder.py dsa
    python examples/sparse_decoder.py window             # what attention to the last tokens alone can do: guess
    xinqiao run --chip ascend-910c -- examples/sparse_decoder.py nsa --steps 3 --device npu

A haystack is one phrase, over and over. Eight needles, each a key with a value, lie anywhere in it but near its end, where
the eight keys are asked for in another order. A guess is right once in eight. Contexts grow as training goes on.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xinqiao.ops import moe
from xinqiao.ops.dsa import dsa_attention, dsa_index
from xinqiao.ops.nsa import Branch, nsa_attention
from xinqiao.ops.rules import Choosing

PHRASE, KEYS, VALUES = 16, 8, 8
NEEDLE = PHRASE  # the first needle's token; one for each key and value
ASK = NEEDLE + KEYS * VALUES  # the first question's
WINDOW = 32
RULE = Choosing(blocks=8)  # 512 of 4,096 tokens, the first block and the last two among them
LONG = 4096
SCHEDULE = ((96, 32, 120), (512, 8, 40), (LONG, 2, 100))  # tokens, sequences, steps


def sample(sequences: int, tokens: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens, and the values that were asked for: [sequences, KEYS]."""
    found = (torch.arange(tokens) % PHRASE).repeat(sequences, 1)
    keys, asked = (torch.rand(sequences, KEYS, generator=generator).argsort(1) for _ in range(2))
    values = torch.randint(VALUES, (sequences, KEYS), generator=generator)
    far = tokens - WINDOW - KEYS
    places = torch.stack([torch.randperm(far, generator=generator)[:KEYS] for _ in range(sequences)])
    found.scatter_(1, places, NEEDLE + keys * VALUES + values.gather(1, keys))
    found[:, -KEYS:] = ASK + asked
    return found, values.gather(1, asked)


class NativeSparse(nn.Module):
    """Compressed keys are means of the keys that blocks are read by, so that what is chosen is what is looked for."""

    def __init__(self, width: int, heads: int, *, window_only: bool) -> None:
        super().__init__()
        self.heads, self.size, self.window_only = heads, width // heads, window_only
        self.queries = nn.Linear(width, width, bias=False)
        self.caches = nn.Linear(width, 5 * self.size, bias=False)  # two keys and three values, of one key head
        self.gates = nn.Linear(width, 3 * heads)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q = self.queries(x).unflatten(-1, (self.heads, self.size))
        far, near, *values = self.caches(x).unflatten(-1, (1, 5, self.size)).unbind(-2)
        gates = self.gates(x).unflatten(-1, (self.heads, 3)).sigmoid()
        if self.window_only:
            gates = gates * gates.new_tensor([0.0, 0.0, 1.0])
        compressed = Branch(*(t.unfold(1, RULE.length, RULE.stride).mean(-1) for t in (far, values[0])))
        branches = compressed, Branch(far, values[1]), Branch(near, values[2])
        return self.out(nsa_attention(q, *branches, gates, rule=RULE, tokens=WINDOW).flatten(2))


class DeepSeekSparse(nn.Module):
    """Latents that are keys and values at once; an indexer that learns where full attention would look."""

    chosen = 128

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // 2
        self.queries = nn.Linear(width, heads * self.size, bias=False)
        self.latents = nn.Linear(width, self.size, bias=False)
        self.out = nn.Linear(heads * self.size, width, bias=False)
        self.index_queries = nn.Linear(width, 2 * 16, bias=False)
        self.index_keys = nn.Linear(width, 16, bias=False)
        self.index_weights = nn.Linear(width, 2, bias=False)
        self.apart = torch.zeros(())  # of the indexer from attention, of the last forward pass

    def forward(self, x: Tensor) -> Tensor:
        q, latent = self.queries(x).unflatten(-1, (self.heads, self.size)), self.latents(x)
        given = x.detach()  # the indexer learns from `apart` alone
        index = self.index_queries(given).unflatten(-1, (2, 16)), self.index_keys(given), self.index_weights(given)
        choice = dsa_index(*(t.detach() for t in index), top_k=self.chosen)
        self.apart = self.align(q.detach()[:, -KEYS:], latent.detach(), *(t[:, -KEYS:] for t in index[::2]), index[1])
        return self.out(dsa_attention(q, latent, choice, d_v=self.size).flatten(2))

    def align(self, q: Tensor, latent: Tensor, queries: Tensor, weights: Tensor, keys: Tensor) -> Tensor:
        """Kullback-Leibler divergence of the indexer's distribution from attention's, over the questions."""
        meant = (torch.einsum("bthd,bsd->bths", q, latent) * self.size**-0.5).softmax(-1).mean(2)
        scores = (weights[..., None] * torch.einsum("bthd,bsd->bths", queries, keys).relu()).sum(2)
        return F.kl_div(scores.log_softmax(-1), meant, reduction="none").sum(-1).mean()


class Experts(nn.Module):
    """Eight experts, two for a token, kept busy by a bias that follows their load."""

    count, taken, inner = 8, 2, 32

    def __init__(self, width: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, self.count, bias=False)
        self.gate_up = nn.Parameter(torch.randn(self.count, 2 * self.inner, width) * width**-0.5)
        self.down = nn.Parameter(torch.randn(self.count, width, self.inner) * self.inner**-0.5)
        self.register_buffer("bias", torch.zeros(self.count))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1)
        weights, chosen = moe.route(self.router(rows), self.bias, top_k=self.taken)
        if self.training:
            self.bias = moe.update_bias(self.bias, moe.load(chosen, self.count), 1e-3)
        return moe.experts(rows, weights, chosen, self.gate_up, self.down).view_as(x)


class Decoder(nn.Module):
    def __init__(self, kind: str, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(ASK + KEYS, width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(3))
        if kind == "dsa":
            self.attention, self.mixer = DeepSeekSparse(width, heads), Experts(width)
        else:
            self.attention = NativeSparse(width, heads, window_only=kind == "window")
            self.mixer = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, VALUES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the values, for the questions: [sequences, KEYS, VALUES]."""
        x = self.embedding(tokens)
        x = x + self.attention(self.norms[0](x))
        x = x + self.mixer(self.norms[1](x))
        return self.head(self.norms[2](x[:, -KEYS:]))


def train(kind: str, device: str, steps: int | None = None) -> tuple[Decoder, list[float]]:
    """The decoder after `steps` steps (None: the whole schedule), and its losses."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    model = Decoder(kind).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3, weight_decay=0.0)
    losses = []
    for tokens, sequences, count in SCHEDULE:
        for _ in range(count if steps is None else steps):
            words, answers = (t.to(device) for t in sample(sequences, tokens, generator))
            loss = F.cross_entropy(model(words).flatten(0, 1), answers.flatten())
            optimizer.zero_grad()
            (loss + getattr(model.attention, "apart", 0.0)).backward()
            optimizer.step()
            losses.append(loss.item())
            if steps is not None or len(losses) % 20 == 0:
                print(f"step {len(losses):3} of {tokens:4} tokens: loss {losses[-1]:.4f} ({losses[-1].hex()})", flush=True)
    return model, losses


def accuracy(model: Decoder, device: str, sequences: int = 16) -> float:
    """Share of needles found in contexts of LONG tokens that training has not seen."""
    words, answers = sample(sequences, LONG, torch.Generator().manual_seed(2))
    with torch.no_grad():
        found = model.eval()(words.to(device)).argmax(-1).cpu()
    return (found == answers).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("nsa", "dsa", "window"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, help="of each length of context, instead of all")
    options = parser.parse_args()
    model, _ = train(options.model, options.device, options.steps)
    if options.steps is None:
        print(f"needles found in {LONG} tokens: {accuracy(model, options.device):.1%} (a guess: {1 / VALUES:.1%})")


if __name__ == "__main__":
    main()
