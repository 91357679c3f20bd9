"""Memory of programs against the virtual chip's exact peak; and what a plan does to each part."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from xinqiao.errors import InputError
from xinqiao.size.memory import Inference, Memory, Training, memory
from xinqiao.size.model import Attention, Experts, Layer, Model
from xinqiao.size.plan import Formats, Plan

PROGRAM = Path(__file__).parent / "programs" / "memory.py"
BF16, FP32 = Formats(), Formats(weights="fp32", plain="fp32")


def model(layer: Layer, **more) -> Model:
    return Model(
        name="small", family="", hidden=1024, vocab=32000, layers=(layer,), context=8192, stored="bf16", source="",
        **{"tied": False, **more},
    )  # fmt: skip


def heads(kv_heads: int, **more) -> Attention:
    return Attention(heads=16, kv_heads=kv_heads, head_dim=64, value_dim=64, **more)


# as programs/memory.py has them
GROUPED = model(Layer(count=4, attention=heads(4), inner=2816))
MULTI_HEAD = model(Layer(count=4, attention=heads(16), inner=2816))
MIXTURE = model(Layer(count=4, attention=heads(4, qk_norm="head"), experts=Experts(count=16, top_k=4, inner=512)))
GPT2 = model(
    Layer(count=4, attention=heads(16, qkv_bias=True, out_bias=True), inner=4096, gated=False, bias=True),
    tied=True, positions=8192, norm_bias=True,
)  # fmt: skip


def training(**more) -> Training:
    """Without data transformers cannot see that nothing is padded, so that it passes a mask."""
    return Training(4, 1024, **{"masked": True, **more})


CASES = {
    "train_fp32": (MULTI_HEAD, FP32, training()),
    "train_autocast": (GROUPED, FP32, training(autocast=True)),
    "train_master": (GROUPED, BF16, training(master=True)),
    "train_lora": (GROUPED, BF16, training(lora_rank=16)),
    "train_checkpointing": (GROUPED, BF16, training(checkpointing=True)),
    "train_math": (GROUPED, BF16, training(masked=False, scores=True)),
    "train_moe": (MIXTURE, BF16, training()),
    "train_gpt2": (GPT2, FP32, training()),
    "prefill": (GROUPED, BF16, Inference(4, 1024, 4096)),
    "prefill_moe": (MIXTURE, BF16, Inference(4, 1024, 4096)),
    "decode_dynamic": (GROUPED, BF16, Inference(4, 4096, 4, grows=True)),
    "decode_static": (GROUPED, BF16, Inference(4, 4096, 4)),
}


@cache
def exact(vocabulary: int) -> dict[str, int]:
    command = ["xinqiao.cli", "run", "--chip", "h200", "--shapes", "--", str(PROGRAM), str(vocabulary)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("vocabulary", [32000, 512])  # the peak is in the loss, and in the last layer's gradients
@pytest.mark.parametrize("name", CASES)
def test_the_peak_of_a_program(name, vocabulary):
    made, formats, use = CASES[name]
    found = memory(replace(made, vocab=vocabulary), Plan(), formats, use).total
    assert found == pytest.approx(exact(vocabulary)[name], rel=0.01)


TRAINED = training(master=True)
SERVED = Inference(8, 4096, 8)


@pytest.mark.parametrize(
    ("part", "made", "plan", "use", "share"),
    [
        ("cache", GROUPED, Plan(tp=4), SERVED, 1 / 4),
        ("cache", GROUPED, Plan(tp=8), SERVED, 1 / 4),  # four heads on eight devices: each has one
        ("cache", GROUPED, Plan(pp=2), SERVED, 1 / 2),
        ("cache", GROUPED, Plan(cp=2), SERVED, 1 / 2),
        ("cache", GROUPED, Plan(dp=2), SERVED, 1),
        ("weights", GROUPED, Plan(dp=2), SERVED, 1),
        ("weights", GROUPED, Plan(dp=4), training(zero=3), 1 / 4),
        ("weights", GROUPED, Plan(dp=4), training(zero=2), 1),
        ("optimizer", GROUPED, Plan(dp=4), training(zero=1), 1 / 4),
        ("optimizer", GROUPED, Plan(dp=4), training(), 1),
        ("master", GROUPED, Plan(dp=4), training(master=True, zero=1), 1 / 4),
    ],
)
def test_what_a_plan_shares(part, made, plan, use, share):
    alone, shared = (getattr(memory(made, p, BF16, use), part) for p in (Plan(), plan))
    assert shared == pytest.approx(alone * share)


def test_experts_are_spread():
    alone, spread = (memory(MIXTURE, p, BF16, SERVED).weights for p in (Plan(), Plan(dp=8, ep=8)))
    assert alone - spread == pytest.approx(MIXTURE.parameters("experts") * 2 * 7 / 8)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (training(checkpointing=True), training()),
        (training(), training(masked=False, scores=True)),
        (training(optimizer="sgd"), training(optimizer="sgd-momentum")),
        (training(optimizer="sgd-momentum"), training()),
        (training(lora_rank=16), training()),
        (Training(4, 1024), training()),
        (Training(4, 1024), Training(8, 1024)),
    ],
)
def test_what_takes_less(less, more):
    assert memory(GROUPED, Plan(), BF16, less).total < memory(GROUPED, Plan(), BF16, more).total


def test_without_many_tokens_the_step_is_the_peak():
    found = memory(GROUPED, Plan(), BF16, Training(1, 16, master=True))
    parameters = GROUPED.parameters()
    assert found == Memory(
        weights=2 * parameters, master=4 * parameters, gradients=4 * parameters, optimizer=8 * parameters,
        workspace=4 * parameters,
    )  # fmt: skip


def test_an_optimizer_that_is_not_known():
    with pytest.raises(InputError, match="no optimizer 'adam'; did you mean adamw"):
        memory(GROUPED, Plan(), BF16, Training(1, 16, optimizer="adam"))
