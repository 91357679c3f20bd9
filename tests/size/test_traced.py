"""A program on the virtual chip costs what its model's config says; and what a traced program's record tells."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from xinqiao.chips import catalog
from xinqiao.cost import software
from xinqiao.errors import InputError
from xinqiao.size.iteration import Iteration, engine, iteration
from xinqiao.size.model import Attention, Experts, Layer, Model
from xinqiao.size.plan import Batch, Formats, Plan
from xinqiao.size.traced import REST, trace

PROGRAMS = Path(__file__).parent / "programs"
CHIP = "h200"
MIB = 1 << 20


def decoder(layer: Layer) -> Model:
    return Model(
        name="decoder", family="", hidden=2048, vocab=32000, layers=(layer,), tied=False, context=16384, stored="bf16",
        source="",
    )  # fmt: skip


HEADS = {"heads": 16, "kv_heads": 4, "head_dim": 128, "value_dim": 128}
PLAIN, NORMED = Attention(**HEADS), Attention(**HEADS, qk_norm="head")
MODELS = {  # as programs/forward.py has them
    "llama": decoder(Layer(count=3, attention=PLAIN, inner=8192)),
    "qwen3_moe": decoder(Layer(count=3, attention=NORMED, experts=Experts(count=64, top_k=8, inner=768))),
    "mixtral": decoder(Layer(count=3, attention=PLAIN, experts=Experts(count=8, top_k=2, inner=4096))),
}
BATCHES = {
    f"{phase} {n}": Batch(prefill=n, length=n) if phase == "prefill" else Batch(sequences=4, context=n)
    for phase in ("prefill", "decode")
    for n in (512, 4096)
}


@cache
def clock() -> dict[str, dict[str, float]]:
    command = ["xinqiao.cli", "run", "--chip", CHIP, "--shapes", "--", str(PROGRAMS / "forward.py")]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def configured(kind: str, batch: Batch) -> Iteration:
    return iteration(engine(MODELS[kind], catalog.load(CHIP), Plan(), Formats(), software.load("eager")), batch)


@pytest.mark.slow
@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize(
    ("kind", "within"),
    [
        ("llama", 0.002),
        ("qwen3_moe", 0.02),  # experts that a step meets: 8 different ones for each token, or rows that fall anywhere
        ("mixtral", 0.05),  # it weighs and sums its experts' rows in fp32, which the preset does not
    ],
)
def test_config_and_program_are_one_number(kind, within, name):
    predicted = sum(priced.time.seconds for priced in configured(kind, BATCHES[name]).operators)
    assert predicted == pytest.approx(clock()[kind][name], rel=within)


@pytest.mark.slow
def test_a_program_is_traced(tmp_path):
    found = trace(PROGRAMS / "small.py", [], CHIP, log=tmp_path / "log")
    weight = 1024 * 512 * 4
    assert found.memory.parts | {REST: 0} == {
        "parameters": weight, "gradients": weight, "optimizer": 2 * weight, REST: 0,
    }  # fmt: skip
    assert sum(found.memory.parts.values()) == found.memory.peak
    # beyond them: AdamW's square roots, as large as the weight
    assert weight <= found.memory.parts[REST] < weight + MIB + MIB // 4
    products = [row for row in found.operators if row.kind == "gemm"]
    assert sum(row.flops for row in products) == 2 * 2 * 2 * 256 * 1024 * 512  # forward and the weight's gradient
    assert sum(found.by_kind().values()) == pytest.approx(found.device)
    assert sum(found.by_bound().values()) == pytest.approx(found.device)
    assert max(found.by_bound(), key=found.by_bound().__getitem__) == "launch"
    assert found.host > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "complaint"),
    [("raise SystemExit(3)", "ended with exit code 3"), ("import torch", "computes on the host alone")],
)
def test_programs_that_tell_nothing(tmp_path, text, complaint):
    script = tmp_path / "program.py"
    script.write_text(text)
    with pytest.raises(InputError, match=complaint):
        trace(script, [], CHIP, log=tmp_path / "log")


def test_kernels_of_a_layer():
    """Eight kernels of each norm, …: what one layer of Llama is in PyTorch, counted."""
    operators = configured("llama", BATCHES["decode 512"]).operators
    assert sum(p.operator.times * p.operator.what.count for p in operators) == 3 * 40 + 1 + 11 + 8 + 1 + 2
