"""Orders and ratios that are known from arithmetic or from practice, each with its reason. No absolute numbers."""

from typing import NamedTuple

import msgspec
import pytest

from tests.size.asking import ask, chip_of, model_of
from tests.size.layers import WINDOW, model
from tests.size.test_iteration import engine
from xinqiao.chips import nodes
from xinqiao.cost import software
from xinqiao.cost.price import Price
from xinqiao.size import speed
from xinqiao.size.iteration import Engine, iteration
from xinqiao.size.plan import Batch, Formats, Plan
from xinqiao.size.speed import decode

BF16, FP8, INT8 = Formats(), Formats("fp8"), Formats("int8")
WIDE = Plan(dp=64, ep=64)
WIDER = Plan(dp=128, ep=128)


class Case(NamedTuple):
    """A decode step or a prompt of a model on a chip."""

    model: str = "llama-3-70b"
    chip: str = "nvidia-h100"
    plan: Plan = Plan(tp=8)
    formats: Formats = BF16
    sequences: float = 32  # a replica
    context: float = 4096
    prefill: bool = False
    imbalance: float | None = None
    overlap: float = 0.7

    @property
    def engine(self):
        stack = msgspec.structs.replace(software.load("generic"), overlap=self.overlap)
        chip = chip_of(self.chip)
        return Engine(model_of(self.model), self.plan, self.formats, Price(chip, stack), nodes.of(chip), self.imbalance)

    @property
    def found(self):
        if self.prefill:
            return speed.prefill(self.engine, self.sequences, self.context)
        return speed.decode(self.engine, self.sequences, self.context)

    @property
    def rate(self):
        """Tokens/s of one chip."""
        chips = self.plan.devices / self.plan.dp / chip_of(self.chip).torch.devices_per_package
        return self.found.per_second / chips


LLAMA = Case()
DEEPSEEK = Case("deepseek-v3", "nvidia-h800", WIDE, FP8, 64)
ON_H20, ON_910C = DEEPSEEK._replace(chip="nvidia-h20"), DEEPSEEK._replace(chip="ascend-910c", formats=INT8)


@pytest.mark.parametrize(
    ("slow", "fast", "low", "high", "reason"),
    [
        (
            LLAMA,
            LLAMA._replace(chip="nvidia-h200"),
            1.1,
            1.45,
            "decoding 70 B is bound by memory: 4.8 against 3.35 TB/s is 1.43",
        ),
        (
            LLAMA._replace(prefill=True, sequences=4),
            LLAMA._replace(prefill=True, sequences=4, chip="nvidia-h200"),
            1.0,
            1.1,
            "prompts are bound by arithmetic, which is the same",
        ),
        (
            LLAMA._replace(prefill=True, sequences=4, chip="nvidia-h20"),
            LLAMA._replace(prefill=True, sequences=4),
            3.0,
            6.7,
            "prompts are bound by arithmetic: 989 against 148 TFLOPS is 6.7, less what links take",
        ),
        (
            LLAMA._replace(sequences=16),
            LLAMA._replace(sequences=16, chip="nvidia-h20"),
            0.6,
            1.3,
            "decoding few sequences is bound by memory: 4.0 against 3.35 TB/s",
        ),
        (ON_H20, ON_910C, 1.0, 4.0, "MLA is bound by arithmetic: 1,504 TOPS and 148 TFLOPS"),
        (
            ON_910C._replace(formats=BF16),
            ON_910C,
            1.1,
            2.0,
            "int8 halves the weights' bytes and doubles the rate; attention stays in 16 bits",
        ),
        (
            DEEPSEEK._replace(imbalance=1.5),
            DEEPSEEK._replace(imbalance=1.0),
            1.01,
            1.5,
            "the device with the busiest experts sets the pace",
        ),
        (
            DEEPSEEK._replace(imbalance=1.5, prefill=True, sequences=4),
            DEEPSEEK._replace(imbalance=1.0, prefill=True, sequences=4),
            1.05,
            1.5,
            "and prompts have more arithmetic in experts",
        ),
        (DEEPSEEK._replace(overlap=0.0), DEEPSEEK._replace(overlap=0.8), 1.02, 2.0, "messages hide behind computing"),
        (
            LLAMA._replace(model="llama-3-8b", plan=Plan(), sequences=64),
            LLAMA._replace(model="llama-3-8b", plan=Plan(dp=2), sequences=64),
            0.9,
            1.1,
            "replicas of a dense model do not meet: twice the chips with twice the sequences are twice as fast",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_known_ratio(slow, fast, low, high, reason):
    assert low <= fast.rate / slow.rate <= high, reason


def test_more_memory_is_worth_more_than_its_bandwidth_because_more_sequences_fit():
    few, many = (ask("llama-3-70b", chip, chips=4, phase="decode") for chip in ("h100", "h200"))
    assert many.batch_per_chip > 2 * few.batch_per_chip  # what weights leave over more than doubles
    ratio = many.decode_tokens_per_second_per_chip.value / few.decode_tokens_per_second_per_chip.value
    assert ratio > 4.8 / 3.35


def test_deepseek_at_50_ms_a_token_on_128_chips():
    """MLA is bound by arithmetic: 148 TFLOPS, then 752 in two dies that each hold their own experts, then 989."""
    rates = [
        ask("deepseek-v3", chip, chips=128, tp=1, pp=1, phase="decode", tpot_ms=50, context=4096, **more)
        for chip, more in (("h20", {}), ("910c", {"weights": "int8"}), ("h800", {}))
    ]
    rates = [answer.decode_tokens_per_second_per_chip.value for answer in rates]
    assert rates == sorted(rates)


def core(case):
    """Seconds of attention's core: (arithmetic, cache)."""
    done = iteration(case.engine, Batch(sequences=case.sequences, context=case.context))
    time = next(one.time for one in done.operators if one.operator.name == "attention decode")
    return time.attention, time.cache


@pytest.mark.parametrize("chip", ["nvidia-h20", "nvidia-h800", "ascend-910c", "ascend-910b2"])
def test_mla_multiplies_as_long_as_it_reads_and_gqa_reads(chip):
    """MLA: 128 heads share a latent of 1,152 bytes, 242 FLOP a byte; GQA: 8 heads share 512 bytes, 8 a byte."""
    formats = INT8 if chip.startswith("ascend") else FP8
    arithmetic, cache = core(DEEPSEEK._replace(chip=chip, formats=formats, sequences=128))
    assert arithmetic > cache
    arithmetic, cache = core(LLAMA._replace(chip=chip, sequences=128))
    assert cache > arithmetic


def test_eight_bits_pay_off_on_a_chip_poor_in_arithmetic_only_where_attention_has_them_too():
    plain, weights, both = (
        ON_H20._replace(formats=formats).rate for formats in (BF16, FP8, Formats("fp8", attention="fp8"))
    )
    assert 1.1 < weights / plain < 1.7
    assert both / weights > 1.15
    rich = [DEEPSEEK._replace(formats=formats).rate for formats in (FP8, Formats("fp8", attention="fp8"))]
    assert rich[1] / rich[0] < both / weights  # where arithmetic is plenty it matters less


def test_links_of_25_gigabytes_limit_wide_expert_parallelism():
    """910B: 64 tokens a device to 8 experts each and back, 128 devices: 655 µs a layer in a separate calculation."""
    case = DEEPSEEK._replace(chip="ascend-910b2", formats=INT8, plan=WIDER, overlap=0.0)
    done = iteration(case.engine, Batch(sequences=64, context=4096))
    assert done.time.bound == "link"
    layers = sum(layer.count for layer in model_of("deepseek-v3").layers if layer.experts)
    sent = sum(one.time.seconds for one in done.operators if one.operator.name in ("dispatch", "combine"))
    assert 655e-6 / 2 < sent / layers < 655e-6 * 2


def test_the_same_on_links_of_the_super_node_is_not_limited_by_them():
    case = ON_910C._replace(plan=WIDER, overlap=0.0)
    assert iteration(case.engine, Batch(sequences=64, context=4096)).time.bound != "link"


@pytest.mark.parametrize("case", [LLAMA, DEEPSEEK, ON_910C], ids=["llama", "deepseek", "910c"])
def test_more_sequences_are_more_tokens_and_later_ones(case):
    found = [case._replace(sequences=n).found for n in (1, 4, 16, 64, 256)]
    rates, times = [f.per_second for f in found], [f.time.seconds for f in found]
    assert rates == sorted(rates)
    assert times == sorted(times)
    assert times[1] < 2 * times[0]  # few sequences read the same weights


def test_a_long_context_slows_decoding_in_proportion_to_what_is_read():
    case = LLAMA._replace(model="llama-3-8b", plan=Plan())
    times = [case._replace(context=n).found.time.seconds for n in (1000, 2000, 16000, 32000, 64000)]
    assert times == sorted(times)
    assert times[1] < 1.2 * times[0]  # weights first
    assert times[4] - times[3] == pytest.approx(2 * (times[3] - times[2]), rel=0.05)


def test_a_sliding_window_ends_that():
    near, far = (decode(engine(made=model(WINDOW)), 32, tokens).time for tokens in (200, 20000))
    assert far == near


@pytest.mark.parametrize("tp", [2, 4, 8])
def test_tensor_parallelism_makes_a_token_sooner_and_costs_throughput_a_chip(tp):
    alone, split = (LLAMA._replace(model="llama-3-8b", plan=Plan(tp=n), sequences=16) for n in (1, tp))
    assert split.found.time.seconds < alone.found.time.seconds
    assert split.rate < alone.rate


def test_mtp_that_is_always_kept_is_worth_less_than_two_and_one_that_never_is_costs():
    made = DEEPSEEK.engine
    none, kept, lost = (
        speed.decode(made, 64, 4096, drafts).per_second
        for drafts in (speed.Drafts(), speed.Drafts(1, 1.0), speed.Drafts(1, 0.0))
    )
    assert lost < none < kept < 2 * none
