"""What users ask for: first token, time per token, throughput — of fixed batches and of an engine under load."""

from typing import NamedTuple

from xinqiao.cost.time import Time, together
from xinqiao.size.iteration import Engine, iteration
from xinqiao.size.plan import Batch

# Gauss-Legendre points and weights on (0, 1): exact for a decode time that grows as a polynomial of the context
POINTS = ((0.1127016654, 5 / 18), (0.5, 8 / 18), (0.8872983346, 5 / 18))


class Drafts(NamedTuple):
    """Tokens that multi-token prediction adds to a step, of which `kept` are accepted in the mean."""

    tokens: int = 0
    kept: float = 0.0


class Past(NamedTuple):
    """Tokens that are there already, and how lengths are spread.

    before   of each prompt, held by a prefix cache
    context  before the mean decoded token; 0: the prompt and half of the answer
    longer   length of the prompt that the mean token is in, over the mean length
    """

    before: float = 0.0
    context: float = 0.0
    longer: float = 1.0


NONE, NEW = Drafts(), Past()


class Speed(NamedTuple):
    """seconds of `tokens` output tokens (prompt tokens in prefill) of one replica."""

    tokens: float
    time: Time

    @property
    def per_second(self) -> float:
        return self.tokens / self.time.seconds


def prefill(engine: Engine, sequences: float, length: float, before: float = 0.0, longer: float = 1.0) -> Speed:
    """Prompts of `length` tokens, in iterations of the software's chunk, or of one prompt that is longer.

    longer: length of the prompt that the mean token is in, over `length`.
    """
    tokens = sequences * length
    chunk = min(tokens, max(engine.software.chunk, length))
    time = iteration(engine, Batch(prefill=chunk, length=length * longer, before=before)).time
    return Speed(tokens, time.times(tokens / chunk))


def decode(engine: Engine, sequences: float, context: float, drafts: Drafts = NONE) -> Speed:
    """One step of all sequences."""
    time = iteration(engine, decode_batch(engine, sequences, context, drafts)).time
    return Speed(sequences * (1 + drafts.kept), time)


def decode_batch(engine: Engine, sequences: float, context: float, drafts: Drafts = NONE) -> Batch:
    """Of one of the `pp` groups of sequences that follow one another through the stages."""
    return Batch(sequences=sequences / engine.plan.pp, context=context, queries=1 + drafts.tokens)


def static(engine: Engine, sequences: float, inputs: float, outputs: float) -> Speed:
    """One batch from its prompts to its last token."""
    first = prefill(engine, sequences, inputs).time
    steps = [decode(engine, sequences, inputs + at * outputs).time.times(weight * outputs) for at, weight in POINTS]
    return Speed(sequences * outputs, together((first, *steps)))


def loaded(
    engine: Engine, sequences: float, inputs: float, outputs: float, past: Past = NEW, drafts: Drafts = NONE
) -> Speed:
    """An engine that `sequences` requests keep busy: iterations of decoding with a share of prompts in each.

    inputs: tokens of a prompt that are new.
    """
    batch = loaded_batch(engine, sequences, inputs, outputs, past, drafts)
    time = iteration(engine, batch).time
    fresh = sequences * inputs / (outputs / (1 + drafts.kept)) / engine.plan.pp
    if fresh > batch.prefill:  # sequences wait while other prompts fill whole iterations
        full = iteration(engine, Batch(prefill=batch.prefill, length=batch.length, before=past.before)).time
        time = together((time, full.times(fresh / batch.prefill - 1)))
    return Speed(sequences * (1 + drafts.kept), time)


def loaded_batch(
    engine: Engine, sequences: float, inputs: float, outputs: float, past: Past = NEW, drafts: Drafts = NONE
) -> Batch:
    """Of one iteration: as many prompt tokens as keep the number of sequences, up to the software's chunk."""
    fresh = sequences * inputs / (outputs / (1 + drafts.kept))
    return Batch(
        sequences=sequences / engine.plan.pp,
        context=past.context or past.before + inputs + outputs / 2,
        queries=1 + drafts.tokens,
        prefill=min(fresh, float(engine.software.chunk)) / engine.plan.pp,
        length=inputs * past.longer,
        before=past.before,
    )
