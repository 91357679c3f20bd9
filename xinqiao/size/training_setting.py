"""One plan of training or fine-tuning: what it keeps on a device, and the seconds of a step."""

from functools import cached_property
from typing import NamedTuple

from msgspec.structs import replace

from xinqiao.cost.price import Interval, interval
from xinqiao.cost.time import Time
from xinqiao.size import memory, training
from xinqiao.size.iteration import Engine, Priced, iteration
from xinqiao.size.memory import Memory
from xinqiao.size.plan import Batch, Formats, Plan
from xinqiao.size.request import Request

SEQUENCES = 8  # micro-batches of one replica and stage in a step, where the user gives no number


class Way(NamedTuple):
    """What is saved to fit: layers computed again in the backward pass; ZeRO's stage."""

    checkpointing: bool
    zero: int


WAYS = (Way(False, 1), Way(True, 1), Way(True, 3))  # the first that fits is taken


class TrainingSetting:
    """16-bit weights, fp32 copies that AdamW updates; or adapters of rank `lora_rank` on frozen weights."""

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
        """Of one replica."""
        return self.plan.devices / self.plan.dp / self.request.per_chip

    @property
    def sequences(self) -> float:
        """Of one replica in one step."""
        batch = self.request.workload.batch
        return batch * self.chips if batch else float(SEQUENCES * self.plan.pp)

    @property
    def frozen(self) -> bool:
        return self.request.lora_rank > 0

    def needs(self, way: Way) -> Memory:
        """Bytes on one device."""
        whole = replace(self.formats, weights=self.formats.plain, experts="", activations="")
        use = memory.Training(
            batch=min(self.sequences, 1.0),
            length=self.request.workload.input,
            master=not self.frozen,
            checkpointing=way.checkpointing,
            lora_rank=self.request.lora_rank,
            zero=way.zero,
        )
        return memory.memory(self.engine.model, self.plan, self.formats if self.frozen else whole, use)

    @cached_property
    def way(self) -> Way:
        """The first that fits, or the last."""
        return next((way for way in WAYS if self.needs(way).total <= self.engine.usable), WAYS[-1])

    @property
    def fits(self) -> bool:
        return self.needs(self.way).total <= self.engine.usable

    @cached_property
    def step(self) -> Time:
        """Seconds of one step of all replicas."""
        way, plan = self.way, self.plan
        needs = self.needs(Way(True, 0))
        trained = 0.0 if self.frozen else needs.master / 4
        work = training.Training(
            self.sequences,
            self.request.workload.input,
            min(self.sequences, 1.0),
            recompute=1.0 if way.checkpointing else 0.0,
            trained=trained,
            shards=plan.dp,
            gathered=needs.weights if way.zero == 3 else 0.0,
            frozen=self.frozen,
        )
        return training.step(self.engine, work)

    @property
    def tokens(self) -> float:
        """Of one step of one replica."""
        return self.sequences * self.request.workload.input

    @property
    def per_second(self) -> float:
        """Tokens of one chip."""
        return self.tokens / self.step.seconds / self.chips

    def interval(self, value: float) -> Interval:
        link = self.engine.price.device.interval("scale_up")
        return interval(value, self.engine.price.spread(self.step, link=link))

    def operators(self) -> list[Priced]:
        """Of one micro-batch's forward pass."""
        length = self.request.workload.input
        return iteration(self.engine, Batch(prefill=length, length=length, trained=True)).operators
