"""How good predictions of a processor are: from constants alone, and with a table that `xinqiao calibrate` measured.

    OMP_NUM_THREADS=1 python benchmarks/calibrate_cpu.py [--seconds 150] [--table FILE.toml] [--format human|json]

Kernels of sizes that are not in the table, then a whole language model in plain PyTorch with the sizes of SmolLM2-360M
(HuggingFaceTB/SmolLM2-360M, config.json; random weights, fp32): a decode step and a prompt of 512 tokens. One thread,
and its own processor time: what other processes take is left out, but not what they evict from the cache. The model
runs before the table is measured and after it, and counts as the geometric mean of both: how far they are apart is how
far the machine itself changed meanwhile.
"""

import argparse
import json
import time
from math import exp, log, sqrt
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xinqiao.chips import catalog
from xinqiao.chips.spec import Chip
from xinqiao.cost.kernel import Kernel
from xinqiao.cost.price import Price
from xinqiao.cost.software import load
from xinqiao.cost.table import kernel_of
from xinqiao.device.calibration.calibrate import calibrate
from xinqiao.device.calibration.machine import machine
from xinqiao.device.calibration.run import Bench
from xinqiao.device.calibration.shapes import Candidate
from xinqiao.size.iteration import Engine, engine
from xinqiao.size.model import Attention, Layer, Model
from xinqiao.size.plan import Formats, Plan
from xinqiao.size.speed import decode, prefill

LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, DIM, WORDS, PROMPT = 32, 960, 2560, 15, 5, 64, 49152, 512
HELD_OUT = [  # none of these sizes is a candidate of the table
    *[Candidate("gemm", "fp32", shape) for shape in (
        (1, 960, 960), (1, 2560, 960), (1, 3584, 2240), (3, 1920, 1536), (6, 1216, 1664), (12, 3328, 1408),
        (24, 960, 2560), (40, 5120, 1280), (90, 1536, 1536), (180, 2304, 768), (300, 1792, 3072), (512, 2560, 960),
        (700, 1344, 1344), (1500, 768, 768),
    )],
    *[Candidate("prefill_attention", "fp32", (1, length, *heads)) for length, heads in (
        (96, (15, 5, 64)), (300, (12, 12, 64)), (512, (15, 5, 64)), (700, (16, 4, 128)), (900, (24, 8, 64)),
    )],
    *[Candidate("decode_attention", "fp32", shape) for shape in (
        (1, 150, 12, 12, 64), (1, 600, 15, 5, 64), (3, 400, 16, 4, 128), (8, 300, 24, 8, 64), (12, 1200, 12, 12, 64),
    )],
    *[Candidate("elementwise", "fp32", shape) for shape in ((5000, 2), (90000, 3), (700000, 2), (3000000, 3))],
    *[Candidate("norm", "fp32", shape) for shape in ((3, 960), (400, 1536))],
]  # fmt: skip


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(HIDDEN), nn.RMSNorm(HIDDEN)
        self.q, self.out = linear(HIDDEN, HEADS * DIM), linear(HEADS * DIM, HIDDEN)
        self.k, self.v = linear(HIDDEN, KV_HEADS * DIM), linear(HIDDEN, KV_HEADS * DIM)
        self.gate, self.up, self.down = linear(HIDDEN, INNER), linear(HIDDEN, INNER), linear(INNER, HIDDEN)
        self.cache = torch.zeros(2, KV_HEADS, PROMPT + 64, DIM)

    def forward(self, x: Tensor, at: int, cos: Tensor, sin: Tensor) -> Tensor:
        length, normed = x.shape[0], self.norm1(x)
        q, k, v = (f(normed).view(length, -1, DIM).transpose(0, 1) for f in (self.q, self.k, self.v))
        self.cache[0, :, at : at + length] = rotated(k, cos, sin)
        self.cache[1, :, at : at + length] = v
        keys, values = self.cache[:, None, :, : at + length]
        y = F.scaled_dot_product_attention(
            rotated(q, cos, sin)[None], keys, values, is_causal=length > 1, enable_gqa=True
        )
        x = x + self.out(y[0].transpose(0, 1).reshape(length, -1))
        normed = self.norm2(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    """Token ids (length), which come after `at` others → the next token."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(WORDS, HIDDEN), nn.RMSNorm(HIDDEN)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))

    def forward(self, ids: Tensor, at: int) -> Tensor:
        angles = torch.arange(at, at + len(ids))[:, None] / 1e5 ** (torch.arange(0, DIM, 2) / DIM)
        cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        x = self.words(ids)
        for block in self.blocks:
            x = block(x, at, cos, sin)
        return F.linear(self.norm(x[-1:]), self.words.weight).argmax()


def linear(inner: int, outer: int) -> nn.Linear:
    return nn.Linear(inner, outer, bias=False)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


def seconds(run) -> float:
    """Processor time of this thread: the median of three or more, after one that warms up."""
    samples = []
    while len(samples) < 4 or (sum(samples) < 4 and len(samples) < 25):
        started = time.thread_time()
        run()
        samples.append(time.thread_time() - started)
    return median(samples[1:])


def model_seconds() -> dict[str, float]:
    llama, ids = Llama(), torch.arange(PROMPT)
    return {
        "prefill 512": seconds(lambda: llama(ids, 0)),
        "decode at 512": seconds(lambda: llama(ids[:1], PROMPT)),
    }


def predicted(chip: Chip) -> dict[str, float]:
    heads = Attention(heads=HEADS, kv_heads=KV_HEADS, head_dim=DIM, value_dim=DIM)
    layer = Layer(count=LAYERS, attention=heads, inner=INNER)
    model = Model(
        name="smollm2-360m", family="llama", hidden=HIDDEN, vocab=WORDS, layers=(layer,), tied=True, context=8192,
        stored="fp32", source="HuggingFaceTB/SmolLM2-360M config.json",
    )  # fmt: skip
    formats = Formats(weights="fp32", cache="fp32", attention="fp32", plain="fp32")
    made: Engine = engine(model, chip, Plan(), formats, load("eager"))
    return {
        "prefill 512": prefill(made, 1, PROMPT).time.seconds,
        "decode at 512": decode(made, 1, PROMPT + 1).time.seconds,
    }


def kernel_seconds() -> list[tuple[Candidate, Kernel, float]]:
    bench = Bench(machine("cpu"))
    measured = [found for candidate in HELD_OUT if (found := bench.measured(candidate))]
    for _ in range(8):
        for one in measured:
            one.sample(bench.machine.clock)
    return [(one.candidate, kernel_of(*one.candidate), one.row().seconds) for one in measured]


def off(guess: float, truth: float) -> float:
    """How far a guess is off, the same up and down: 2.0 for twice and for half."""
    return exp(abs(log(guess / truth))) - 1


def compare(file: Path, before: dict[str, float]) -> dict[str, object]:
    with_table = catalog.load(str(file))
    without = msgspec.structs.replace(with_table, calibration="")
    chips = {"constants": without, "table": with_table}
    with torch.inference_mode():
        kernels, after = kernel_seconds(), model_seconds()
    models = {what: sqrt(before[what] * after[what]) for what in after}
    drift = {what: round(after[what] / before[what] - 1, 3) for what in after}
    result: dict[str, object] = {"kernels": len(kernels), "models after, against before": drift}
    for name, chip in chips.items():
        price = Price(chip, load("eager"))
        errors = {c: off(price.kernel(kernel).seconds, truth) for c, kernel, truth in kernels}
        kinds = {c.kind for c in errors}
        result[name] = {
            "median error": round(median(errors.values()), 3),
            "by kind": {
                kind: round(median(e for c, e in errors.items() if c.kind == kind), 3) for kind in sorted(kinds)
            },
            "models": {
                what: {
                    "predicted": round(guess, 4),
                    "measured": round(models[what], 4),
                    "error": round(guess / models[what] - 1, 3),
                }
                for what, guess in predicted(chip).items()
            },
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with TemporaryDirectory() as folder:
        file = asked.table or Path(folder) / "processor.toml"
        with torch.inference_mode():
            before = model_seconds()
        if not file.exists():
            calibrate("cpu", file, asked.seconds / 60)
        print(json.dumps(compare(file, before), indent=2))


if __name__ == "__main__":
    main()
