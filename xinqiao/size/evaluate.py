"""One plan: does it fit, how many sequences at a time, how fast."""

from functools import cached_property
from math import inf

from xinqiao.cost.price import Interval, interval
from xinqiao.cost.time import Time
from xinqiao.size import speed
from xinqiao.size.iteration import Engine, iteration
from xinqiao.size.memory import Inference, Memory, memory
from xinqiao.size.plan import Batch, Formats, Plan
from xinqiao.size.request import Request
from xinqiao.size.speed import Speed

RESERVED = 1.0  # sequences that must fit at least


class Setting:
    """A request under one plan. Speeds are of one replica: the tp × pp × cp devices that share sequences."""

    def __init__(self, request: Request, engine: Engine) -> None:
        self.request, self.engine = request, engine

    @property
    def plan(self) -> Plan:
        return self.engine.plan

    @property
    def formats(self) -> Formats:
        return self.engine.formats

    @property
    def chips(self) -> float:
        """Of one replica; a part of one where a chip has several devices."""
        return self.plan.devices / self.plan.dp / self.request.per_chip

    def memory(self, sequences: float) -> Memory:
        """Bytes on one device with `sequences` in flight on each replica."""
        work, model = self.request.workload, self.engine.model
        tokens = max(sequences * (1 + work.drafted), min(self.engine.software.chunk, work.input))
        longest = work.context or work.input + work.output
        return memory(model, self.plan, self.formats, Inference(sequences, longest, tokens))

    @cached_property
    def usable(self) -> float:
        """Bytes of one device that the software takes; infinite where no source states the capacity."""
        capacity = self.engine.price.device.capacity
        return inf if capacity is None else capacity * self.engine.software.memory

    @cached_property
    def most(self) -> float:
        """Sequences of one replica that fit; below 1: the model does not."""
        none, many = self.memory(0).total, 64
        each = (self.memory(many).total - none) / many
        if each <= 0 or self.usable == inf:
            return self.engine.software.sequences
        return min((self.usable - none) / each, self.engine.software.sequences)

    def decode(self, sequences: float) -> Speed:
        """One step of `sequences`."""
        work = self.request.workload
        return speed.decode(self.engine, sequences, work.depth, drafted=work.drafted, accepted=work.accepted)

    def prefill(self) -> Speed:
        """Prompts one after the other, each in one go or in chunks, after what the prefix cache holds."""
        work = self.request.workload
        fresh = max(work.input * (1 - work.hit_rate), 1.0)
        together = max(self.engine.software.chunk // fresh, 1.0)
        return speed.prefill(self.engine, together, fresh, work.input - fresh)

    def first_token(self) -> Time:
        """Of one prompt on an idle engine."""
        work = self.request.workload
        fresh = max(work.input * (1 - work.hit_rate), 1.0)
        return speed.prefill(self.engine, 1.0, fresh, work.input - fresh).time

    def serve(self, sequences: float) -> Speed:
        """Requests one after the other that keep `sequences` in flight, prompts between the steps of others."""
        work = self.request.workload
        return speed.loaded(
            self.engine, sequences, work.input * (1 - work.hit_rate), work.output,
            before=work.input * work.hit_rate, drafted=work.drafted, accepted=work.accepted,
        )  # fmt: skip

    def sequences(self) -> float:
        """In flight on one replica: what the user gave, or the most that fit and keep the limit on time per token."""
        work = self.request.workload
        if work.batch:
            return work.batch * self.chips
        if self.most < 1 or not work.tpot or self.per_token(self.most) <= work.tpot:
            return self.most
        low, high = 1.0, self.most
        while high / low > 1.02:
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.per_token(middle) <= work.tpot else (low, middle)
        return low

    def per_token(self, sequences: float) -> float:
        """Seconds from one token of a sequence to its next."""
        work = self.request.workload
        served = self.serve(sequences) if self.request.phase == "serve" else self.decode(sequences)
        return served.time.seconds / (1 + work.accepted)

    def interval(self, value: float, time: Time) -> Interval:
        return interval(value, self.engine.price.spread(time, link=self.link))

    @cached_property
    def link(self) -> tuple[float, float] | None:
        """(low, high) bytes/s of the slowest link that the plan uses."""
        device = self.engine.price.device
        return device.interval("scale_up")

    def operators(self, sequences: float):  # noqa: ANN201
        work = self.request.workload
        batch = Batch(sequences=sequences / self.plan.pp, context=work.depth, queries=1 + work.drafted)
        if self.request.phase == "prefill":
            batch = Batch(prefill=work.input, length=work.input)
        return iteration(self.engine, batch).operators
