"""Answers: their JSON form, what they name as unknown, and one for every chip of the catalogue."""

import json

import pytest

from tests.processor import within
from tests.size.asking import ask
from xinqiao.chips import catalog
from xinqiao.size import show, sizes

FIGURES = (
    "prefill_tokens_per_second_per_chip",
    "decode_tokens_per_second_per_chip",
    "serving_tokens_per_second_per_chip",
    "tpot_ms",
    "ttft_ms",
)
ASKED = [("llama-3-8b", {}), ("deepseek-v3", {"chips": 64}), ("qwen3-30b-a3b", {})]


def figures(answer):
    return {name: getattr(answer, name) for name in FIGURES}


@pytest.mark.parametrize(("model", "asked"), ASKED, ids=[model for model, _ in ASKED])
@pytest.mark.parametrize("chip", catalog.names())
def test_every_chip_has_an_answer_with_intervals_or_names_what_is_unknown(chip, model, asked):
    answer = ask(model, chip, **asked)
    for name, found in figures(answer).items():
        if found is None:
            assert answer.unknown or answer.memory.fits is False, name
        else:
            assert 0 < found.low < found.value < found.high, name
    assert all(text.strip() for text in (*answer.unknown, *answer.assumptions))
    known = catalog.load(chip).per_device()
    assert (answer.memory.fits is None) == (known.capacity is None) == (answer.memory.capacity is None)
    if known.bandwidth is None:
        assert any("memory bandwidth of" in text for text in answer.unknown)
        assert set(figures(answer).values()) == {None}
        assert answer.by_operator == ()
    assert answer.memory.total == pytest.approx(sum(answer.memory.parts.values()))


def test_the_json_form():
    row = json.loads(json.dumps(show.rows([ask("deepseek-v3", "h800", chips=32, tpot_ms=50)])))
    assert (row["schema"], row["model"], row["chip"], row["chips"]) == (1, "deepseek-v3", "nvidia-h800", 32)
    assert set(row["plan"]) == {"tp", "pp", "dp", "ep", "cp", "batch_per_chip"}
    assert row["memory"]["weights"] > 0
    assert row["memory"]["cache"] > 0
    assert row["memory"]["fits"] is True
    assert row["memory"]["total"] <= row["memory"]["capacity"]
    for name in FIGURES:
        assert row[name]["low"] < row[name]["value"] < row[name]["high"]
    for operator in row["by_operator"]:
        assert {"name", "seconds", "bound", "level"} <= set(operator)
        assert operator["seconds"] > 0
    assert len({operator["name"] for operator in row["by_operator"]}) == len(row["by_operator"])
    assert all(isinstance(text, str) for text in row["assumptions"])
    assert row["unknown"] == []
    assert sum(limit["share"] for limit in row["limits"]) == pytest.approx(1)
    assert [limit["share"] for limit in row["limits"]] == sorted((g["share"] for g in row["limits"]), reverse=True)


def test_several_chips_are_a_list():
    row = show.rows(sizes("llama-3-8b", ["h100", "910c"], {}))
    assert (row["schema"], [answer["chip"] for answer in row["answers"]]) == (1, ["nvidia-h100", "ascend-910c"])


def test_latency_and_throughput_rise_together_along_the_trade():
    made = ask("llama-3-70b", "h800", chips=8, phase="decode").trade
    for kind in ("batch_per_chip", "tpot_ms", "tokens_per_second_per_chip"):
        found = [getattr(point, kind) for point in made]
        found = [point if isinstance(point, float) else point.value for point in found]
        assert found == sorted(found)


@pytest.mark.parametrize("phase", ["prefill", "decode", "serve"])
def test_rows_are_the_operators_of_the_phase(phase):
    names = {row.name for row in ask("llama-3-8b", "h100", phase=phase).by_operator}
    assert ("attention prefill" in names) == (phase != "decode")
    assert ("attention decode" in names) == (phase != "prefill")


def test_the_rows_of_a_step_are_its_time_on_one_device():
    answer = ask("llama-3-8b", "h100", phase="decode")
    kernels = sum(row.seconds for row in answer.by_operator)
    host = sum(gain.share for gain in answer.limits if gain.resource == "launch and host")
    assert kernels < answer.tpot_ms.value / 1e3 < kernels / (1 - host)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"chips": 8, "tpot_ms": 0.5}, "the limits on time are NOT kept"),
        ({"weights": "fp8"}, ""),
        ({}, "weights in bf16: as published"),
        ({}, "KV cache in bf16"),
        ({"software": "vllm"}, "software: vLLM"),
        ({"input": 1000, "output": 200}, "prompts of 1,000 tokens, answers of 200, decoding after 1,100"),
    ],
    ids=str,
)
def test_what_an_answer_rests_on_is_said(asked, says):
    assert any(says in text for text in ask("llama-3-8b", "h100", **asked).assumptions)


@pytest.mark.parametrize(
    ("model", "chip", "asked", "formats"),
    [
        ("llama-3-8b", "h100", {}, ("bf16", "", "bf16", "bf16", "")),
        ("deepseek-v3", "h800", {"chips": 32}, ("fp8", "", "bf16", "bf16", "")),
        ("deepseek-v3", "910c", {"chips": 32}, ("bf16", "", "bf16", "bf16", "")),
        ("deepseek-v3", "910c", {"chips": 32, "weights": "int8"}, ("int8", "", "bf16", "bf16", "")),
        ("gpt-oss-20b", "h100", {}, ("bf16", "bf16", "bf16", "bf16", "mxfp4")),
        ("deepseek-v4-flash", "h200", {"chips": 8}, ("fp8", "fp8", "bf16", "bf16", "mxfp4")),
        ("deepseek-v4-flash", "910c", {"chips": 8}, ("bf16", "bf16", "bf16", "bf16", "mxfp4")),
        ("llama-3-8b", "s4000", {}, ("fp16", "", "fp16", "fp16", "")),
        ("llama-3-8b", "h100", {"weights": "int4", "attention": "fp8"}, ("int4", "bf16", "bf16", "fp8", "")),
        ("llama-3-8b", "910c", {"weights": "int8", "cache": "fp8"}, ("int8", "", "fp8", "bf16", "")),
    ],
)  # fmt: skip
def test_formats_are_the_published_ones_where_the_chip_multiplies_them(model, chip, asked, formats):
    found = ask(model, chip, **asked).formats
    assert (found.weights, found.activations, found.cache, found.attention, found.experts) == formats


def test_a_chip_that_is_not_known_to_multiply_a_format_is_not_said_to_lack_it():
    said = {chip: ask("deepseek-v3", chip, chips=64).assumptions[0] for chip in ("910c", "bw1000")}
    assert said["910c"] == "weights in bf16: the chip has no fp8"
    assert said["bw1000"] == "weights in bf16: no source states the chip's fp8 peak"


def test_prices_are_of_the_tokens_that_a_chip_makes():
    answer = ask("llama-3-8b", "h100", phase="decode", price=3.6)
    rate = answer.decode_tokens_per_second_per_chip.value
    assert answer.cost_per_million_tokens.value == pytest.approx(3.6 / 3600 / rate * 1e6)


def test_a_prefix_cache_makes_prompts_shorter_and_all_held_is_not_a_division_by_nothing():
    none, some, every = (ask("llama-3-8b", "h100", hit_rate=rate) for rate in (0.0, 0.5, 1.0))
    assert none.ttft_ms.value > some.ttft_ms.value > every.ttft_ms.value > 0


def test_one_point_is_fast_and_an_answer_is():
    ask("llama-3-70b", "h200")
    with within(0.25):
        ask("llama-3-70b", "h200", chips=2, tp=2, pp=1)


@pytest.mark.parametrize(
    ("model", "asked"), [("llama-3-8b", {"batch_per_chip": 100.0}), ("llama-3-70b", {}), ("deepseek-v3", {})]
)
def test_no_speed_is_told_of_a_model_that_does_not_fit(model, asked):
    answer = ask(model, "mlu370-x4", chips=1, **asked)
    assert answer.memory.fits is False
    assert answer.memory.total > answer.memory.capacity * 0.9
    assert set(figures(answer).values()) == {None}
    assert (answer.by_operator, answer.limits, answer.trade) == ((), (), ())
    assert "it does not fit, so no speed is told" in answer.assumptions


@pytest.mark.parametrize("phase", ["decode", "serve"])
def test_the_time_per_token_is_the_one_that_the_limit_is_about(phase):
    answer = ask("llama-3-70b", "h800", chips=8, phase=phase, tpot_ms=40)
    assert 39 < answer.tpot_ms.value < 40.1


@pytest.mark.parametrize("phase", ["decode", "serve"])
def test_a_longer_context_makes_a_token_later_in_every_phase(phase):
    near, far = (ask("llama-3-8b", "h200", phase=phase, batch_per_chip=16, context=n) for n in (100, 8000))
    assert far.tpot_ms.value > near.tpot_ms.value * 1.05


def test_drafted_tokens_shorten_the_time_per_token():
    one, two = (ask("llama-3-8b", "h100", phase="decode", batch_per_chip=8, mtp=mtp) for mtp in ("", "1:0.9"))
    assert 0.5 < two.tpot_ms.value / one.tpot_ms.value < 0.65
