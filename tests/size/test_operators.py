"""Operators of an iteration under plans: the devices' work adds up to the model's, messages where they must be."""

import pytest

from tests.size.layers import ALONE, EXPERTS, GQA, HIDDEN, LINEAR, MLA, context, decoding, model, prompts
from xinqiao.cost.kernel import Kernel
from xinqiao.size import catalogue
from xinqiao.size.operators import Message, operators
from xinqiao.size.plan import Batch, Formats, Plan

DENSE, MIXTURE = model(), model(experts=EXPERTS)
EVEN = Batch(sequences=1024, context=1000)  # a batch that meets every expert


def kernels(made, parts=()):
    return [(o.name, o.times * o.what.count, o.what) for o in made
            if isinstance(o.what, Kernel) and (not parts or o.part in parts)]  # fmt: skip


def flops(made, *parts):
    return sum(times * kernel.flops for _, times, kernel in kernels(made, parts))


def products(made):
    """FLOPs outside attention's core."""
    return sum(times * k.flops for _, times, k in kernels(made) if not k.kind.endswith("attention"))


def messages(made):
    return {o.name: o.what for o in made if isinstance(o.what, Message)}


def run(batch, made=DENSE, plan=ALONE, **more):
    return list(operators(context(batch, made, plan, **more)))


@pytest.mark.parametrize("name", ["llama-3-8b", "llama-2-70b", "qwen3-8b", "qwen3-30b-a3b", "mixtral-8x7b",
                                  "deepseek-v2-lite", "deepseek-v3", "glm-4.5-air"])  # fmt: skip
@pytest.mark.parametrize("batch", [EVEN, Batch(prefill=4096, length=1, trained=True)], ids=["decode", "prompt"])
def test_a_token_multiplies_with_the_active_parameters(name, batch):
    """2 × active parameters × tokens; norms and biases, which are no products, are what may be missing."""
    made = catalogue.load(name)
    counted = products(run(batch, made)) / 2 / batch.tokens
    assert counted == pytest.approx(made.active_parameters(), rel=2e-3)
    assert counted <= made.active_parameters()


@pytest.mark.parametrize(
    ("made", "plan"),
    [
        (DENSE, Plan(tp=4)),
        (DENSE, Plan(tp=2, pp=3)),
        (DENSE, Plan(dp=4)),
        (DENSE, Plan(cp=2)),
        (DENSE, Plan(tp=2, cp=2, dp=2)),
        (MIXTURE, Plan(tp=4)),
        (MIXTURE, Plan(tp=4, ep=4)),
        (MIXTURE, Plan(tp=4, ep=2)),
        (MIXTURE, Plan(dp=8, ep=8)),
        (MIXTURE, Plan(tp=2, dp=4, ep=8)),
        (MIXTURE, Plan(tp=2, pp=3, dp=4, ep=4)),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [EVEN, prompts(4096, 512)], ids=["decode", "prompt"])
def test_devices_together_do_the_models_work_and_no_more(made, plan, batch):
    """An iteration's list has all stages, so a pipeline's devices share it; the router is repeated in a TP group."""
    whole, one = run(batch, made), run(batch, made, plan)
    sharing = plan.tp * plan.cp  # devices that compute one replica's list side by side
    repeated = flops(whole, "router") * (plan.tp - 1)
    assert sharing * flops(one) == pytest.approx(flops(whole) + repeated)


def test_mla_repeats_only_its_way_down_in_a_tensor_parallel_group():
    made = model(MLA)
    whole, one = run(EVEN, made), run(EVEN, made, Plan(tp=4))
    down = 2 * EVEN.tokens * HIDDEN * (384 + 256 + 32) * 3
    assert 4 * flops(one) == pytest.approx(flops(whole) + 3 * down)


@pytest.mark.parametrize(
    ("made", "plan", "batch", "names"),
    [
        (DENSE, Plan(), EVEN, set()),
        (DENSE, Plan(dp=8), EVEN, set()),
        (DENSE, Plan(tp=2), EVEN, {"attention all-reduce", "mlp all-reduce", "logits"}),
        (DENSE, Plan(pp=3), EVEN, {"next stage"}),
        (DENSE, Plan(cp=2), prompts(), {"context"}),
        (DENSE, Plan(cp=2), EVEN, {"context"}),
        (model(LINEAR), Plan(cp=2), EVEN, set()),
        (MIXTURE, Plan(), EVEN, set()),
        (MIXTURE, Plan(dp=8), EVEN, set()),
        (MIXTURE, Plan(dp=8, ep=8), EVEN, {"dispatch", "combine"}),
        (MIXTURE, Plan(tp=4), EVEN, {"attention all-reduce", "experts output", "logits"}),
        (MIXTURE, Plan(tp=4, ep=4), EVEN, {"attention all-reduce", "experts output", "logits"}),
        (
            MIXTURE,
            Plan(tp=2, dp=4, ep=8),
            EVEN,
            {"attention all-reduce", "dispatch", "combine", "experts output", "logits"},
        ),
    ],
)
def test_messages_where_devices_need_one_anothers_results(made, plan, batch, names):
    assert set(messages(run(batch, made, plan))) == names


@pytest.mark.parametrize(
    ("plan", "name", "message"),
    [
        (Plan(tp=2), "attention all-reduce", Message("all_reduce", 1024 * HIDDEN * 2, 2)),
        (Plan(tp=2), "logits", Message("all_gather", 1024 * 4096 * 2, 2)),
        (Plan(tp=2, dp=4, pp=3), "next stage", Message("send", 1024 * HIDDEN * 2 / 2, 2, 8)),
        (Plan(tp=2, cp=4), "context", Message("all_gather", 1024 * 16 / 2 * 64 * 2, 4, 2)),
        (Plan(dp=8, ep=8), "dispatch", Message("dispatch", HIDDEN * 2, 8, 1, 1024, 4, 0)),
        (Plan(tp=2, dp=4, ep=8), "dispatch", Message("dispatch", HIDDEN * 2, 8, 1, 512, 4, 0)),
        (Plan(dp=8, ep=8), "combine", Message("combine", HIDDEN * 2, 8, 1, 1024, 4, 0)),
    ],
)
def test_what_messages_carry(plan, name, message):
    assert messages(run(EVEN, MIXTURE if plan.ep > 1 else DENSE, plan))[name] == message


def test_context_parallel_devices_gather_what_a_prompt_keeps():
    made = messages(run(prompts(600, 200, 50), DENSE, Plan(cp=2)))
    assert made["context"] == Message("all_gather", 3 * 250 * 2 * 4 * 64 * 2, 2, 1)


def test_tokens_travel_in_8_bits_to_experts_that_multiply_so_and_come_back_in_16():
    made = messages(run(EVEN, MIXTURE, Plan(dp=8, ep=8), formats=Formats(weights="fp8")))
    assert (made["dispatch"].bytes, made["combine"].bytes) == (HIDDEN, 2 * HIDDEN)


def test_prompts_travel_once_to_each_server_and_decoded_tokens_straight_to_experts():
    decoded, prompt = (messages(run(batch, MIXTURE, Plan(dp=8, ep=8)))["dispatch"] for batch in (EVEN, prompts()))
    assert decoded.servers == 0
    assert prompt.servers > 1


@pytest.mark.parametrize(
    ("tokens", "plan", "met"),
    [
        (1, Plan(), 4),  # one token meets its top-k
        (2, Plan(), 32 * (1 - (1 - 4 / 32) ** 2)),
        (100000, Plan(), 32),
        (100000, Plan(dp=8, ep=8), 4),  # all that the device has
        (1, Plan(dp=8, ep=8), 4 * (1 - (1 - 4 / 32) ** 8)),  # of all eight devices' tokens
    ],
)
def test_a_device_reads_the_experts_that_its_tokens_meet(tokens, plan, met):
    made = {name: k for name, _, k in kernels(run(Batch(sequences=tokens, context=10), MIXTURE, plan))}
    down = made["experts down"]
    assert down.flops / (2 * down.rows * 256 * HIDDEN) == pytest.approx(met)


@pytest.mark.parametrize(("plan", "grows"), [(Plan(), 1.0), (Plan(tp=4), 1.0), (Plan(dp=8, ep=8), 1.5)])
def test_only_experts_on_different_devices_can_be_out_of_balance(plan, grows):
    even, uneven = (flops(run(EVEN, MIXTURE, plan, imbalance=i), "experts") for i in (1.0, 1.5))
    assert uneven == pytest.approx(grows * even)


def test_a_stack_that_does_not_fuse_quantising_has_a_kernel_more_for_each_product_in_8_bits():
    def quantising(form, stack):
        made = run(EVEN, MIXTURE, formats=Formats(weights=form), stack=stack)
        return [name for name, *_ in kernels(made) if "quantise" in name]

    assert quantising("fp8", "generic") == quantising("bf16", "eager") == []
    made = quantising("fp8", "eager")  # q, k, v, output; gate, up and down of shared experts; two of routed ones
    assert len(made) == 4 + 3 + 2


@pytest.mark.parametrize(
    ("batch", "rows"), [(decoding(8), 8), (prompts(600, 200), 3), (Batch(prefill=600, length=200, trained=True), 600)]
)
def test_the_head_multiplies_what_is_sampled_or_trained(batch, rows):
    made = {name: k for name, _, k in kernels(run(batch))}
    assert made["head"].flops == 2 * rows * 4096 * HIDDEN


def test_layers_that_are_alike_are_counted_not_listed():
    few, many = run(EVEN, model(GQA, layers=3)), run(EVEN, model(GQA, layers=6))
    assert len(few) == len(many)
    assert flops(many) - flops(many, "head") == pytest.approx(2 * (flops(few) - flops(few, "head")))


def test_numbers_between_products_are_as_wide_as_the_model():
    """fp32 moves twice the bytes of bf16 in norms, activations and the like; products say so themselves."""
    wide = run(EVEN, formats=Formats(plain="fp32"))
    for narrow, twice in zip(kernels(run(EVEN)), kernels(wide), strict=True):
        factor = 2 if narrow[2].kind in ("elementwise", "norm") else 1
        assert (narrow[0] == "head") or twice[2].bytes == factor * narrow[2].bytes, narrow


def test_a_fused_norm_is_priced_as_measured_norms_are():
    assert {k.kind for name, _, k in kernels(run(EVEN)) if name == "norms and residuals"} == {"norm"}
    plain = run(EVEN, stack="eager")
    assert {k.kind for name, _, k in kernels(plain) if name == "norms and residuals"} == {"elementwise"}
