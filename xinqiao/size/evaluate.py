"""One plan: does it fit, how many sequences at a time, how fast."""

from functools import cached_property

from xinqiao.cost.price import Interval, interval
from xinqiao.cost.time import Time
from xinqiao.cost.unknown import Unknown
from xinqiao.size import speed
from xinqiao.size.iteration import Engine, Priced, iteration
from xinqiao.size.memory import Inference, Memory, memory
from xinqiao.size.plan import Batch, Formats, Plan
from xinqiao.size.request import Request
from xinqiao.size.speed import Drafts, Past, Speed


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
        held = max(work.depth, longest / max(sequences, 1.0))  # caches in pages: the mean length, one at its full one
        return memory(model, self.plan, self.formats, Inference(sequences, held, tokens))

    @cached_property
    def most(self) -> float:
        """Sequences of one replica that fit; below 1: the model does not."""
        limit = float(self.engine.software.sequences)
        if self.memory(limit).total <= self.engine.usable:
            return limit
        none, some = self.memory(0).total, 64.0
        if none >= self.engine.usable:
            return 0.0
        while True:  # memory grows as a line, and a little faster where many sequences are more tokens than a prompt
            found = min((self.engine.usable - none) / (self.memory(some).total - none) * some, limit)
            if found <= some * 1.001:
                return found
            some = found

    @property
    def fresh(self) -> float:
        """Tokens of a prompt that no prefix cache holds."""
        work = self.request.workload
        return max(work.input * (1 - work.hit_rate), 1.0)

    @property
    def _past(self) -> Past:
        work = self.request.workload
        return Past(work.input - self.fresh, work.depth, work.longer)

    @property
    def drafts(self) -> Drafts:
        return Drafts(self.request.workload.drafted, self.request.workload.accepted)

    def decode(self, sequences: float) -> Speed:
        """One step of `sequences`."""
        return speed.decode(self.engine, sequences, self.request.workload.depth, self.drafts)

    def prefill(self) -> Speed:
        """Prompts one after the other, in each stage of a pipeline one of them."""
        found = self._prompts(max(self.engine.software.chunk // self.fresh, 1.0))
        return found._replace(tokens=found.tokens * self.plan.pp)

    def first_token(self) -> Time:
        """Of one prompt on an idle engine."""
        return self._prompts(1.0).time

    def _prompts(self, count: float) -> Speed:
        return speed.prefill(self.engine, count, self.fresh, self._past.before, self.request.workload.longer)

    def serve(self, sequences: float) -> Speed:
        """Requests one after the other that keep `sequences` in flight, prompts between the steps of others."""
        return speed.loaded(self.engine, sequences, self.fresh, self.request.workload.output, self._past, self.drafts)

    @cached_property
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

    @property
    def fits(self) -> bool:
        """One sequence does, or as many as the user gave."""
        return self.most >= max(self.request.workload.batch * self.chips, 1.0)

    @cached_property
    def lateness(self) -> float:
        """The larger of time per token and to the first one, as a share of its limit; 0: no limit."""
        work = self.request.workload
        late = self.first_token().seconds / work.ttft if work.ttft else 0.0
        if work.tpot and self.request.phase != "prefill":
            late = max(late, self.per_token(self.sequences) / work.tpot)
        return late

    @property
    def keeps(self) -> bool:
        """The limits; True where no speed can be told."""
        try:
            return self.lateness <= 1.001
        except Unknown:
            return True

    def steps(self, sequences: float) -> Speed:
        """Of the phase that makes tokens: with prompts in between, or without."""
        return self.serve(sequences) if self.request.phase == "serve" else self.decode(sequences)

    def per_token(self, sequences: float) -> float:
        """Seconds from one token of a sequence to its next."""
        return self.steps(sequences).time.seconds / (1 + self.drafts.kept)

    def interval(self, value: float, time: Time) -> Interval:
        return interval(value, self.engine.price.spread(time, link=self.link))

    @cached_property
    def link(self) -> tuple[float, float] | None:
        """(low, high) bytes/s of the links inside the fast domain."""
        return self.engine.price.device.interval("scale_up")

    def operators(self, sequences: float) -> list[Priced]:
        """Of one iteration of the phase."""
        work, fresh, past = self.request.workload, self.fresh, self._past
        if self.request.phase == "prefill":
            batch = Batch(prefill=fresh, length=fresh * work.longer, before=past.before)
        elif self.request.phase == "serve":
            batch = speed.loaded_batch(self.engine, sequences, fresh, work.output, past, self.drafts)
        else:
            batch = speed.decode_batch(self.engine, sequences, work.depth, self.drafts)
        return iteration(self.engine, batch).operators
