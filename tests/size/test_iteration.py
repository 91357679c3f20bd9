"""One iteration: what hides behind computing, what the host adds, which figures are asked for."""

import msgspec
import pytest

from tests.size.layers import ALONE, EXPERTS, decoding, model, prompts
from xinqiao.chips import catalog, nodes
from xinqiao.cost import software
from xinqiao.cost.kernel import Kernel
from xinqiao.cost.price import Price
from xinqiao.cost.time import together
from xinqiao.cost.unknown import Unknown
from xinqiao.size.iteration import Engine, iteration, transfer
from xinqiao.size.operators import Message
from xinqiao.size.plan import Formats, Plan

STACK = software.load("generic")


def engine(plan=ALONE, made=None, chip="nvidia-h800", **changed):
    found = catalog.load(chip)
    stack = msgspec.structs.replace(STACK, **changed)
    return Engine(made or model(), plan, Formats(), Price(found, stack), nodes.of(found))


def parts(done):
    """(kernels, messages of experts, other messages) in seconds, before anything hides."""
    kinds = [[], [], []]
    for one in done.operators:
        kernel = isinstance(one.operator.what, Kernel)
        kinds[0 if kernel else 1 if one.operator.what.kind in ("dispatch", "combine") else 2].append(one.time)
    return [together(times).seconds for times in kinds]


WIDE = Plan(tp=2, dp=32, ep=64)
MIXTURE = model(experts=EXPERTS)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("batch", [decoding(512), prompts(8192, 512)], ids=["decode", "prompt"])
def test_messages_of_experts_hide_behind_kernels_and_others_do_not(overlap, batch):
    done = iteration(engine(WIDE, MIXTURE, overlap=overlap), batch)
    kernels, experts, others = parts(done)
    hidden = overlap * min(kernels, experts)
    assert done.time.seconds - done.time.host == pytest.approx(kernels + experts - hidden + others)


def test_a_dense_models_messages_are_in_the_open():
    slow, fast = (iteration(engine(Plan(tp=8), overlap=share), decoding()).time.seconds for share in (0.0, 1.0))
    assert slow == fast


@pytest.mark.parametrize(
    ("changed", "batch", "waits"),
    [
        ({"graphs": True}, decoding(1), False),
        ({"graphs": False}, decoding(1), True),
        ({"graphs": True, "prefill_graphs": False}, prompts(16, 16), True),
        ({"graphs": True, "prefill_graphs": True}, prompts(16, 16), False),
        ({"graphs": False}, prompts(1 << 16, 1 << 10), False),  # the device is slower than the host
    ],
)
def test_a_fast_device_waits_for_a_host_that_launches_one_by_one(changed, batch, waits):
    made = engine(**changed)
    step = made.price.constants.step.value
    found = iteration(made, batch).time.host
    assert found > step if waits else found == step


def test_unfused_software_waits_for_more_launches():
    step = engine().price.constants.step.value
    few, many = (iteration(engine(graphs=False, kernels=n), decoding(1)).time.host - step for n in (1, 3))
    assert many > 3 * few > 0


def test_without_a_message_no_link_is_asked_for():
    alone = engine(chip="ascend-910b2")
    unknown = alone.node.levels[0]._replace(rate=None, fact="rate of a test")
    bare = alone._replace(node=alone.node._replace(levels=(unknown, *alone.node.levels[1:])))
    assert iteration(bare, decoding()).time.link == 0
    with pytest.raises(Unknown, match="rate of a test"):
        iteration(bare._replace(plan=Plan(tp=8)), decoding())


@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "send"])
@pytest.mark.parametrize("plan", [Plan(tp=8), Plan(tp=8, dp=4)], ids=str)
def test_a_larger_message_takes_longer_and_a_farther_one_too(kind, plan):
    made = engine(plan)
    one, twice = (transfer(made, Message(kind, n, 8)) for n in (1e9, 2e9))
    assert twice.link == pytest.approx(2 * one.link)
    assert twice.latency == one.latency
    assert transfer(made, Message(kind, 1e9, 8, 8)).link > one.link  # 8 apart: one in each server


def test_a_grouping_of_one_device_sends_nothing():
    assert transfer(engine(), Message("all_reduce", 1e9, 1)).total == 0
