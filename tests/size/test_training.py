"""A training step: three times the forward arithmetic, the pipeline's bubble, what is computed again, gradients."""

import pytest

from tests.size.layers import model
from tests.size.test_iteration import engine
from xinqiao.size import catalogue
from xinqiao.size.iteration import iteration, transfer
from xinqiao.size.operators import Message
from xinqiao.size.plan import Batch, Plan
from xinqiao.size.training import BACKWARD, BACKWARD_ATTENTION, Training, step

DENSE = model(layers=8)


def products(made, batch):
    """FLOPs of a training step's products with weights."""
    done = iteration(made, batch)
    kernels = [(one.operator.times, one.operator.what) for one in done.operators]
    return (1 + BACKWARD) * sum(times * k.flops for times, k in kernels if k.kind.endswith("gemm"))


@pytest.mark.parametrize("name", ["llama-3-8b", "qwen3-32b"])
def test_training_multiplies_six_times_parameters_times_tokens(name):
    made = catalogue.load(name)
    batch = Batch(prefill=4096, length=4096, trained=True)
    assert products(engine(made=made), batch) == pytest.approx(6 * made.active_parameters() * 4096, rel=2e-3)


def test_a_backward_pass_of_attention_is_five_products_for_two():
    assert BACKWARD_ATTENTION == 5 / 2


def test_more_sequences_take_longer_in_proportion():
    one, four = (step(engine(made=DENSE), Training(n, 2048)).seconds for n in (1, 4))
    assert four == pytest.approx(4 * one, rel=1e-3)


def forward(made, micro=1):
    """Seconds of the kernels of one micro-batch's forward pass."""
    done = iteration(made, Batch(prefill=micro * 2048, length=2048, trained=True))
    return sum(one.time.seconds for one in done.operators)


@pytest.mark.parametrize("recompute", [0.0, 0.5, 1.0])
def test_what_is_computed_again_is_a_share_of_the_forward_pass(recompute):
    made = engine(made=DENSE)
    slower = made.price.constants.training.value
    plain, again = (step(made, Training(4, 2048, recompute=share)).seconds for share in (0.0, recompute))
    assert again - plain == pytest.approx(4 * recompute * forward(made) * slower)


@pytest.mark.parametrize(("stages", "micros"), [(1, 4), (2, 4), (4, 4), (4, 64), (8, 8)])
def test_a_pipelines_stages_wait_while_it_fills_and_empties(stages, micros):
    """Of count + stages − 1 slots, stages − 1 are idle. Messages between stages come on top."""
    one = step(engine(made=DENSE), Training(micros, 2048)).seconds
    piped = step(engine(Plan(pp=stages), DENSE, overlap=1.0), Training(micros, 2048)).seconds
    assert piped == pytest.approx(one / stages * (micros + stages - 1) / micros, rel=0.02)


@pytest.mark.parametrize(("plan", "ranks"), [(Plan(dp=8), 8), (Plan(dp=4, cp=2), 8), (Plan(tp=2, dp=4), 4)])
def test_devices_that_hold_the_same_weights_exchange_gradients(plan, ranks):
    made = engine(plan, DENSE, overlap=0.0)
    without, exchanged = (step(made, Training(4, 2048, trained=n, shards=10**9)) for n in (0.0, 1e9))
    sent = transfer(made, Message("all_reduce", 3e9, ranks, plan.tp))
    assert exchanged.seconds - without.seconds == pytest.approx(sent.link, rel=1e-3)


def test_an_alone_replica_exchanges_nothing():
    assert step(engine(made=DENSE), Training(4, 2048, trained=1e9)).link == 0


@pytest.mark.parametrize(("shards", "share"), [(1, 1), (8, 1 / 8)])
def test_the_optimizer_moves_28_bytes_a_parameter_that_is_its_own(shards, share):
    made = engine(made=DENSE)
    none, some = (step(made, Training(1, 2048, trained=n, shards=shards)).memory for n in (0.0, 1e9))
    assert some - none == pytest.approx(28e9 * share / made.price.memory)


@pytest.mark.parametrize(("recompute", "passes"), [(0.0, 2), (1.0, 3)])
def test_weights_in_parts_are_fetched_for_every_pass(recompute, passes):
    """ZeRO-3: for the forward pass, the backward one, and what is computed again; here nothing hides them."""
    made = engine(Plan(dp=8), DENSE, overlap=0.0)
    plain, parts = (step(made, Training(4, 2048, recompute=recompute, gathered=n)).seconds for n in (0.0, 1e9))
    fetched = transfer(made, Message("all_gather", 1e9, 8, 1))
    assert parts - plain == pytest.approx(4 * passes * fetched.total)
