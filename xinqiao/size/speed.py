"""What users ask for: first token, time per token, throughput — of fixed batches and of an engine under load."""

from typing import NamedTuple

from xinqiao.cost.time import Time, together
from xinqiao.size.iteration import Engine, iteration
from xinqiao.size.plan import Batch

# Gauss-Legendre points and weights on (0, 1): exact for a decode time that grows as a polynomial of the context
POINTS = ((0.1127016654, 5 / 18), (0.5, 8 / 18), (0.8872983346, 5 / 18))


class Speed(NamedTuple):
    """seconds of `tokens` output tokens (prompt tokens in prefill) of one replica."""

    tokens: float
    time: Time

    @property
    def per_second(self) -> float:
        return self.tokens / self.time.seconds


def prefill(engine: Engine, sequences: float, length: float, before: float = 0.0) -> Speed:
    """Prompts of `length` tokens, in iterations of the software's chunk at most."""
    tokens = sequences * length
    chunk = min(tokens, max(engine.software.chunk, length))
    time = iteration(engine, Batch(prefill=chunk, length=length, before=before)).time
    return Speed(tokens, time.times(tokens / chunk))


def decode(engine: Engine, sequences: float, context: float, *, drafted: int = 0, accepted: float = 0.0) -> Speed:
    """One step of all sequences. drafted: tokens of multi-token prediction, of which `accepted` are kept in the mean."""
    batch = Batch(sequences=sequences / engine.plan.pp, context=context, queries=1 + drafted)
    time = iteration(engine, batch).time
    return Speed(sequences * (1 + accepted), time)


def static(engine: Engine, sequences: float, inputs: float, outputs: float) -> Speed:
    """One batch from its prompts to its last token."""
    first = prefill(engine, sequences, inputs).time
    steps = [decode(engine, sequences, inputs + at * outputs).time.times(weight * outputs) for at, weight in POINTS]
    return Speed(sequences * outputs, together((first, *steps)))


def loaded(
    engine: Engine, sequences: float, inputs: float, outputs: float, *, before: float = 0.0, drafted: int = 0,
    accepted: float = 0.0,
) -> Speed:
    """An engine that `sequences` requests keep busy: iterations of decoding with a share of prompts in each.

    inputs: tokens of a prompt after the `before` that a prefix cache holds.
    """
    steps = outputs / (1 + accepted)
    fresh = sequences * inputs / steps
    chunk = min(fresh, float(engine.software.chunk))
    batch = Batch(
        sequences=sequences / engine.plan.pp,
        context=before + inputs + outputs / 2,
        queries=1 + drafted,
        prefill=chunk / engine.plan.pp,
        length=inputs,
        before=before,
    )
    time = iteration(engine, batch).time
    return Speed(sequences * (1 + accepted), time.times(fresh / chunk))
