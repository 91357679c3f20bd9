"""Plans: possible ones only, what the user gives is kept, and the best of them is found."""

import pytest

from tests.size.asking import all_settings, model_of, request
from xinqiao.cost.unknown import Unknown
from xinqiao.errors import InputError
from xinqiao.size.choose import Named, formats
from xinqiao.size.plan import Plan
from xinqiao.size.request import check
from xinqiao.size.search import best

ASKED = [
    ("llama-3-8b", "nvidia-h100", 8),
    ("llama-3-70b", "ascend-910c", 8),
    ("llama-3-70b", "nvidia-h20", 6),
    ("deepseek-v3", "ascend-910c", 32),
    ("deepseek-v3", "nvidia-h800", 320),
    ("qwen3-30b-a3b", "metax-c500", 16),
]


@pytest.mark.parametrize(("model", "chip", "chips"), ASKED)
def test_plans_use_every_device_and_split_what_can_be_split(model, chip, chips):
    made = model_of(model)
    asked = request(model, chip, chips=chips)
    found = [setting.plan for setting in all_settings(asked)]
    layers = sum(layer.count for layer in made.layers)
    experts = max((layer.experts.count for layer in made.layers if layer.experts), default=0)
    assert len(set(found)) == len(found) > 1
    for plan in found:
        assert plan.devices == chips * asked.per_chip
        assert all(layer.attention.heads % plan.tp == 0 for layer in made.layers)
        assert plan.pp <= layers
        assert plan.tp * plan.dp * plan.cp % plan.ep == 0
        assert plan.ep == 1 or plan.ep <= 2 * experts


@pytest.mark.parametrize(
    ("wanted", "plans"),
    [
        ({"tp": 4}, {Plan(4, 1, 2), Plan(4, 2, 1)}),
        ({"pp": 8}, {Plan(1, 8, 1)}),
        ({"dp": 2}, {Plan(1, 4, 2), Plan(2, 2, 2), Plan(4, 1, 2)}),
        ({"cp": 2, "pp": 1}, {Plan(1, 1, 4, 1, 2), Plan(2, 1, 2, 1, 2), Plan(4, 1, 1, 1, 2)}),
        ({"tp": 2, "pp": 2, "dp": 2}, {Plan(2, 2, 2)}),
        ({"tp": 3}, set()),
        ({"dp": 3}, set()),
    ],
)
def test_degrees_that_the_user_gives_are_kept(wanted, plans):
    assert {s.plan for s in all_settings(request("llama-3-8b", "nvidia-h100", chips=8, wanted=wanted))} == plans


@pytest.mark.parametrize("phase", ["prefill", "decode", "serve"])
@pytest.mark.parametrize(("model", "chip", "chips"), ASKED[:4])
def test_the_best_is_what_trying_everything_finds(model, chip, chips, phase):
    asked = request(model, chip, chips=chips, phase=phase, tpot=0.05 if phase != "prefill" else 0.0)
    found = best(asked, formats(asked.model, asked.chip, Named())[0])

    def rate(setting):
        made = setting.prefill() if phase == "prefill" else setting.steps(setting.sequences)
        return made.per_second / setting.chips

    tried = [s for s in all_settings(asked) if s.memory(1).total <= s.engine.usable]
    kept = [rate(s) for s in tried if phase == "prefill" or s.per_token(s.sequences) <= 0.05 * 1.001]
    assert rate(found) == pytest.approx(max(kept))


@pytest.mark.parametrize("phase", ["decode", "serve"])
@pytest.mark.parametrize("limit", [0.015, 0.03, 0.1])
def test_the_limit_on_time_per_token_is_kept_with_the_most_sequences(phase, limit):
    asked = request("llama-3-70b", "nvidia-h800", chips=8, phase=phase, tpot=limit)
    found = best(asked, formats(asked.model, asked.chip, Named())[0])
    assert found.per_token(found.sequences) <= limit * 1.001
    assert found.sequences > found.most * 0.97 or found.per_token(found.sequences * 1.05) > limit


def test_a_limit_on_the_first_token_is_kept():
    free, held = (
        best(asked, formats(asked.model, asked.chip, Named())[0])
        for asked in (request("llama-3-70b", "nvidia-h800", chips=8, phase="prefill", ttft=limit) for limit in (0, 0.2))
    )
    assert held.first_token().seconds <= 0.2 < free.first_token().seconds


def test_limits_that_no_plan_keeps_give_the_nearest_and_do_not_pass_for_kept():
    asked = request("llama-3-70b", "nvidia-h800", chips=8, tpot=1e-4)
    found = best(asked, formats(asked.model, asked.chip, Named())[0])
    assert not found.keeps
    assert found.lateness == min(s.lateness for s in all_settings(asked) if s.fits)


@pytest.mark.parametrize(
    ("model", "chip", "chips"), [("llama-3-8b", "nvidia-h100", 1), ("llama-3-70b", "nvidia-h100", 2)]
)
def test_without_a_number_of_chips_as_few_as_fit(model, chip, chips):
    asked = request(model, chip, chips=0)
    assert best(asked, formats(asked.model, asked.chip, Named())[0]).plan.devices == chips


def test_more_chips_where_fewer_do_not_keep_the_limits():
    few, more = (
        best(asked, formats(asked.model, asked.chip, Named())[0])
        for asked in (request("llama-3-70b", "nvidia-h800", chips=0, tpot=limit) for limit in (0.0, 0.012))
    )
    assert few.plan.devices < more.plan.devices
    assert more.keeps


@pytest.mark.parametrize("inputs", [16, 2048, 100000])
@pytest.mark.parametrize(("model", "chip", "chips"), ASKED)
def test_as_many_sequences_as_fit_do_fit_and_more_do_not(model, chip, chips, inputs):
    if inputs > (model_of(model).context or inputs) - 512:
        inputs = model_of(model).context - 512
    for setting in all_settings(request(model, chip, chips=chips, input=inputs)):
        if 1 <= setting.most < setting.engine.software.sequences:
            assert setting.memory(setting.most).total <= setting.engine.usable * 1.001
            assert setting.memory(setting.most * 1.01).total > setting.engine.usable
        elif setting.most >= 1:
            assert setting.memory(setting.most).total <= setting.engine.usable


def test_a_plan_without_a_speed_is_the_one_that_leaves_the_most_room():
    asked = request("llama-3-8b", "kunlun-p800", chips=8)
    found = best(asked, formats(asked.model, asked.chip, Named())[0])
    with pytest.raises(Unknown, match="memory bandwidth"):
        found.decode(1)
    assert found.memory(1).total == min(s.memory(1).total for s in all_settings(asked))


def test_an_unknown_link_leaves_the_plans_that_do_not_use_it():
    """The C500's links are unknown: tensor parallelism has no speed, replicas have."""
    asked = request("llama-3-8b", "metax-c500", chips=8)
    found = best(asked, formats(asked.model, asked.chip, Named())[0])
    assert found.plan.tp == 1
    assert found.decode(1).per_second > 0


@pytest.mark.parametrize(
    ("model", "chips", "wanted", "says"),
    [
        ("llama-3-8b", 8, {"tp": 7}, "--tp 7: llama-3-8b has 32 heads; tp must divide them"),
        ("llama-3-8b", 8, {"pp": 64}, "--pp 64: llama-3-8b has 32 layers"),
        ("llama-3-8b", 8, {"ep": 8}, "--ep 8: llama-3-8b has no experts"),
        ("llama-3-8b", 8, {"dp": 3}, "tp × pp × dp × cp = 3 does not divide the 8 devices of 8 chips"),
        ("qwen3-30b-a3b", 8, {"ep": 512}, "--ep 512: qwen3-30b-a3b has 128 experts in a layer"),
    ],
)
def test_degrees_that_cannot_be_are_refused(model, chips, wanted, says):
    with pytest.raises(InputError) as refused:
        check(request(model, "nvidia-h100", chips=chips, wanted=wanted))
    assert says in str(refused.value)


@pytest.mark.parametrize("wanted", [{"ep": 3}, {"tp": 4, "dp": 1, "pp": 1}], ids=str)
def test_degrees_that_leave_no_plan_are_named(wanted):
    asked = request("qwen3-30b-a3b", "nvidia-h100", chips=8, wanted=wanted)
    with pytest.raises(InputError, match="no plan on 8 devices") as refused:
        best(asked, formats(asked.model, asked.chip, Named())[0])
    assert all(f"--{name} {degree}" in str(refused.value) for name, degree in wanted.items())
