"""How good predictions of a processor are: from constants alone, and with a table that `xinqiao calibrate` measured.

    OMP_NUM_THREADS=1 python benchmarks/calibrate_cpu.py [--seconds 150] [--table FILE.toml] [--format human|json]

Kernels of sizes that are not in the table, then a whole language model in plain PyTorch with the sizes of SmolLM2-360M
(HuggingFaceTB/SmolLM2-360M, config.json; random weights, fp32): a decode step and a prompt of 512 tokens. One thread,
and its own processor time: what other processes take is left out, but not what they evict from the cache. They run in
turns with the kernels of the table, all through the time in which it is measured: a machine that becomes slower or
faster meanwhile is the same machine for both. A table alone (--table FILE) is compared with what the machine does now.
"""

import argparse
import json
import time
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xinqiao.chips import catalog
from xinqiao.chips.spec import Chip
from xinqiao.cost.price import Price
from xinqiao.cost.software import Kernels, load
from xinqiao.cost.table import kernel_of
from xinqiao.device.calibration.calibrate import calibrate
from xinqiao.device.calibration.machine import machine
from xinqiao.device.calibration.run import Bench
from xinqiao.device.calibration.shapes import Candidate
from xinqiao.size.iteration import Engine, engine
from xinqiao.size.model import Attention, Layer, Model
from xinqiao.size.plan import Formats, Plan
from xinqiao.size.speed import decode, prefill

SHARE = 1 / 3  # of the time, for what is predicted
TURNS = 4  # where the table is there already
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


class Beside:
    """What is predicted, measured in turns with the table that predicts it: kernels and the model."""

    def __init__(self) -> None:
        self.bench = Bench(machine("cpu"))
        self.kernels = [found for candidate in HELD_OUT if (found := self.bench.measured(candidate))]
        self.llama, self.ids = Llama(), torch.arange(PROMPT)
        self.prompts, self.steps, self.spent = list[float](), list[float](), 0.0
        self.turn()
        self.prompts.clear()  # it warmed up
        self.steps.clear()
        self.began, self.spent = time.perf_counter(), 0.0

    def __call__(self, *_progress: int) -> None:
        """After each sample of the table: a turn, if turns have had less than their share of the time."""
        if self.spent < SHARE * (time.perf_counter() - self.began):
            self.turn()

    def turn(self) -> None:
        """A prompt, decode steps for a quarter of its time, and a sample of each kernel."""
        began = time.perf_counter()
        self.prompts.append(seconds(lambda: self.llama(self.ids, 0)))
        until = time.perf_counter() + self.prompts[-1] / 4
        while time.perf_counter() < until:
            self.steps.append(seconds(lambda: self.llama(self.ids[:1], PROMPT)))
        for kernel in self.kernels:
            kernel.sample(self.bench.machine)
        self.spent += time.perf_counter() - began

    def measured(self) -> dict[str, list[float]]:
        return {"prefill 512": self.prompts, "decode at 512": self.steps}


def seconds(run: Callable[[], object]) -> float:
    """Processor time of this thread."""
    started = time.thread_time()
    run()
    return time.thread_time() - started


def predicted(chip: Chip) -> dict[str, float]:
    heads = Attention(heads=HEADS, kv_heads=KV_HEADS, head_dim=DIM, value_dim=DIM)
    layer = Layer(count=LAYERS, attention=heads, inner=INNER)
    model = Model(
        name="smollm2-360m", family="llama", hidden=HIDDEN, vocab=WORDS, layers=(layer,), tied=True, context=8192,
        stored="fp32", source="HuggingFaceTB/SmolLM2-360M config.json",
    )  # fmt: skip
    formats = Formats(weights="fp32", cache="fp32", attention="fp32", plain="fp32")
    written = msgspec.structs.replace(load("eager").written, norm=Kernels(1, 4, "norm"), residual=None, grows=False)
    software = msgspec.structs.replace(load("eager"), written=written)  # as `Block` is written
    made: Engine = engine(model, chip, Plan(), formats, software)
    return {
        "prefill 512": prefill(made, 1, PROMPT).time.seconds,
        "decode at 512": decode(made, 1, PROMPT + 1).time.seconds,
    }


def off(guess: float, truth: float) -> float:
    """How far a guess is off, the same up and down: 2.0 for twice and for half."""
    return exp(abs(log(guess / truth))) - 1


def compare(file: Path, beside: Beside) -> dict[str, object]:
    with_table = catalog.load(str(file))
    models = beside.measured()
    result: dict[str, object] = {
        "kernels": len(beside.kernels),
        "turns": len(beside.prompts),
        "drift": {what: [round(min(s), 4), round(max(s), 4)] for what, s in models.items()},
    }
    for name, chip in (("constants", msgspec.structs.replace(with_table, calibration="")), ("table", with_table)):
        price = Price(chip, load("eager"))
        errors = {
            one.candidate: off(price.kernel(kernel_of(*one.candidate)).seconds, one.row().seconds)
            for one in beside.kernels
        }
        kinds = sorted({c.kind for c in errors})
        guesses = predicted(chip)
        result[name] = {
            "median error": round(median(errors.values()), 3),
            "by kind": {kind: round(median(e for c, e in errors.items() if c.kind == kind), 3) for kind in kinds},
            "models": {what: compared(guesses[what], median(samples)) for what, samples in models.items()},
        }
    return result


def compared(guess: float, truth: float) -> dict[str, float]:
    return {"predicted": round(guess, 4), "measured": round(truth, 4), "error": round(guess / truth - 1, 3)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with TemporaryDirectory() as folder, torch.inference_mode():
        file = asked.table or Path(folder) / "processor.toml"
        beside = Beside()
        if file.exists():
            for _ in range(TURNS):
                beside.turn()
        else:
            calibrate("cpu", file, asked.seconds / (1 - SHARE) / 60, beside)
        print(json.dumps(compare(file, beside), indent=2))


if __name__ == "__main__":
    main()
