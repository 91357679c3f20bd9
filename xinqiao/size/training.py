"""Seconds of a training step: forward, backward, what is computed again, gradients between replicas, the optimizer."""

from typing import NamedTuple

from xinqiao.cost.kernel import Kernel
from xinqiao.cost.time import Time, overlapped, together
from xinqiao.size.iteration import Engine, iteration, transfer
from xinqiao.size.operators import Message
from xinqiao.size.plan import Batch

BACKWARD = 2.0  # products of a linear layer: of its input's and its weight's gradient
BACKWARD_FROZEN = 1.0  # of its input's only
BACKWARD_ATTENTION = 2.5  # five products for the forward's two
OPTIMIZER = 28.0  # bytes a parameter: gradient, two moments and the master weight are read, the last three written


class Training(NamedTuple):
    """sequences of `length` tokens of one replica in one step, in micro-batches of `micro` sequences.

    recompute  share of the forward pass that is computed again in the backward one (gradient checkpointing)
    trained    parameters on one device that the optimizer updates, of which each holds 1/`shards` of the states
    gathered   bytes of weights on one device that its replicas hold in parts (ZeRO-3), fetched for each pass of layers
    frozen     weights have no gradients: adapters beside them do, which cost next to nothing
    """

    sequences: float
    length: float
    micro: float = 1.0
    recompute: float = 0.0
    trained: float = 0.0
    shards: int = 1
    gathered: float = 0.0
    frozen: bool = False


def step(engine: Engine, training: Training) -> Time:
    """Seconds of one step of one replica."""
    plan, count = engine.plan, training.sequences / training.micro
    batch = Batch(prefill=training.micro * training.length, length=training.length, trained=True)
    forward, back = iteration(engine, batch), BACKWARD_FROZEN if training.frozen else BACKWARD
    computing, messages = [], []
    for priced in forward.operators:
        if isinstance(priced.operator.what, Kernel):
            core = priced.operator.what.kind.endswith("attention")
            computing.append(priced.time.times(1 + training.recompute + (BACKWARD_ATTENTION if core else back)))
        else:
            messages.append(priced.time.times(2.0))
    messages.append(_fetched(engine, training).times(2 + training.recompute))
    slower = engine.price.constants.training.value
    micro = overlapped(together(computing).times(slower), together(messages), engine.software.overlap)
    bubble = (plan.pp - 1) / (count + plan.pp - 1)
    pipeline = micro.times(count / plan.pp / (1 - bubble))
    return together(
        (overlapped(pipeline, _gradients(engine, training), engine.software.overlap), _update(engine, training))
    )


def _fetched(engine: Engine, training: Training) -> Time:
    """An all-gather of the weights for one pass of a micro-batch over the layers of all stages."""
    plan = engine.plan
    if plan.dp == 1 or not training.gathered:
        return Time()
    moved = transfer(engine, Message("all_gather", training.gathered * plan.pp, plan.dp, plan.tp * plan.cp))
    return Time(link=moved.link, latency=moved.latency)


def _gradients(engine: Engine, training: Training) -> Time:
    """A reduce-scatter of fp32 gradients and an all-gather of 16-bit weights between devices that hold the same."""
    ranks = engine.plan.dp * engine.plan.cp
    if ranks == 1:
        return Time()
    moved = transfer(engine, Message("all_reduce", training.trained * 3.0, ranks, engine.plan.tp))
    return Time(link=moved.link, latency=moved.latency)


def _update(engine: Engine, training: Training) -> Time:
    return engine.price.kernel(Kernel("elementwise", "fp32", bytes=training.trained / training.shards * OPTIMIZER))
