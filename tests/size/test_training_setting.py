"""Training and fine-tuning: memory by hand, what is saved to fit, utilisation, days."""

import pytest

from tests.size.asking import ask, model_of

GB = 1e9


def part(answer, name):
    return answer.memory.parts[name]


@pytest.mark.parametrize(("chips", "shared"), [(4, 4), (8, 8), (16, 16)])
def test_adamw_in_16_bits_keeps_16_bytes_a_parameter_of_which_replicas_share_12(chips, shared):
    """2 of weights, 2 or 4 of gradients; ZeRO-1 shares the master copy (4) and both moments (8)."""
    answer = ask("llama-3-8b", "h200", phase="train", chips=chips, dp=chips, tp=1, pp=1)
    parameters = model_of("llama-3-8b").parameters()
    assert answer.memory.fits
    assert part(answer, "weights") == pytest.approx(2 * parameters, rel=0.01)
    assert part(answer, "master") == pytest.approx(4 * parameters / shared, rel=0.01)
    assert part(answer, "optimizer") == pytest.approx(8 * parameters / shared, rel=0.01)


def test_frozen_weights_have_no_states():
    answer = ask("qwen3-32b", "h100", phase="finetune", lora_rank=16, chips=2)
    parameters = model_of("qwen3-32b").parameters()
    held = sum(part(answer, name) for name in ("master", "gradients", "optimizer"))
    assert held < 0.01 * parameters
    assert answer.memory.fits


@pytest.mark.parametrize(
    ("model", "chip", "asked", "fits"),
    [
        ("llama-3-8b", "h100", {"phase": "train", "chips": 1}, False),  # 16 bytes × 8 B are 128 GB
        ("llama-3-8b", "h100", {"phase": "train", "chips": 4}, True),
        ("llama-3-8b", "h100", {"phase": "finetune", "lora_rank": 16, "chips": 1}, True),
        ("llama-3-70b", "h100", {"phase": "finetune", "lora_rank": 16, "chips": 1}, False),  # 140 GB of weights
        ("qwen3-32b", "p800", {"phase": "finetune", "lora_rank": 16, "chips": 1}, True),  # 66 of 96 GB
        ("qwen3-32b", "p800", {"phase": "finetune", "chips": 1}, False),
        ("deepseek-v3", "h800", {"phase": "train", "chips": 2048, "pp": 16, "ep": 64}, True),  # as it was trained
    ],
    ids=str,
)
def test_what_fits(model, chip, asked, fits):
    assert ask(model, chip, **asked).memory.fits is fits


def test_a_chip_of_unknown_bandwidth_answers_memory_and_names_what_it_lacks():
    answer = ask("qwen3-32b", "p800", phase="finetune", lora_rank=16, chips=1)
    assert answer.memory.fits
    assert answer.training_tokens_per_second_per_chip is None
    assert any("memory bandwidth" in text for text in answer.unknown)


@pytest.mark.parametrize(
    ("model", "chip", "asked"),
    [
        ("llama-3-8b", "h100", {"chips": 8}),
        ("llama-3-70b", "h100", {"chips": 64}),
        ("llama-3-8b", "910c", {"chips": 8}),
        ("qwen3-30b-a3b", "h800", {"chips": 32}),
    ],
    ids=str,
)
def test_utilisation_is_six_times_parameters_times_tokens_over_the_peak(model, chip, asked):
    answer = ask(model, chip, phase="train", input=4096, **asked)
    rate, share = answer.training_tokens_per_second_per_chip, answer.mfu
    peak = {"nvidia-h100": 989e12, "nvidia-h800": 989e12, "ascend-910c": 2 * 353.9e12}[answer.chip]
    for end in ("low", "value", "high"):
        flops = 6 * model_of(model).active_parameters() * getattr(rate, end)
        assert getattr(share, end) == pytest.approx(flops / peak, rel=0.02)
    assert 0.1 < share.value < 0.75


def test_days_are_tokens_over_the_rate_of_all_chips():
    answer = ask("llama-3-8b", "h100", phase="train", chips=64, tokens=1e12)
    rate = answer.training_tokens_per_second_per_chip
    assert answer.days.value == pytest.approx(1e12 / rate.value / 64 / 86400)
    assert answer.days.low == pytest.approx(1e12 / rate.high / 64 / 86400)
    assert ask("llama-3-8b", "h100", phase="train", chips=64).days is None


def test_what_is_saved_to_fit_is_said():
    alone = {"phase": "train", "chips": 8, "dp": 8, "tp": 1, "pp": 1}
    short, long = (ask("llama-3-8b", "h100", input=n, **alone).assumptions for n in (512, 8192))
    assert any("nothing computed again" in text for text in short)
    assert any("layers computed again" in text or "ZeRO stage 3" in text for text in long)


def test_adapters_train_faster_than_all_weights():
    asked = {"phase": "finetune", "chips": 8, "dp": 8, "tp": 1, "pp": 1}
    whole, adapters = (ask("llama-3-8b", "h200", lora_rank=rank, **asked) for rank in (None, 16))
    ratio = adapters.training_tokens_per_second_per_chip.value / whole.training_tokens_per_second_per_chip.value
    assert 1.2 < ratio < 1.6  # no gradient of weights: two products of three


def test_a_sequence_may_be_as_long_as_the_models_positions():
    assert ask("llama-3-8b", "h200", phase="train", chips=8, input=8192).memory.fits


def test_an_unknown_link_leaves_the_plans_that_do_not_use_it():
    answer = ask("llama-3-8b", "metax-c500", phase="finetune", lora_rank=16, chips=1)
    assert answer.training_tokens_per_second_per_chip is not None
