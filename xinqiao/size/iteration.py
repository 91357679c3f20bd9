"""Seconds of one iteration of one replica: its operators priced, hidden behind each other, and the host's share."""

from math import inf
from typing import NamedTuple

from xinqiao.chips import nodes
from xinqiao.chips.nodes import Node
from xinqiao.chips.spec import Chip
from xinqiao.cost import links
from xinqiao.cost.kernel import Kernel
from xinqiao.cost.price import Price
from xinqiao.cost.software import Software
from xinqiao.cost.time import Time, overlapped, together
from xinqiao.size.context import Context
from xinqiao.size.model import Model
from xinqiao.size.operators import Message, Operator, operators
from xinqiao.size.plan import Batch, Formats, Plan


class Engine(NamedTuple):
    """A model under a plan on a machine: what all its iterations have in common."""

    model: Model
    plan: Plan
    formats: Formats
    price: Price
    node: Node
    imbalance: float | None = None  # of experts; None: the fitted constant
    redundant: int = 0

    @property
    def software(self) -> Software:
        return self.price.software

    @property
    def usable(self) -> float:
        """Bytes of one device that the software takes; infinite where no source states the capacity."""
        capacity = self.price.device.capacity
        return inf if capacity is None else capacity * self.software.memory

    def context(self, batch: Batch) -> Context:
        balance = self.price.constants.imbalance.value if self.imbalance is None else self.imbalance
        return Context(self.model, self.plan, self.formats, self.software, batch, balance, self.redundant)


class Priced(NamedTuple):
    """An operator and its seconds in one iteration, before anything is hidden; measured: from a table of its chip."""

    operator: Operator
    time: Time
    measured: bool = False


class Iteration(NamedTuple):
    """operators one by one; `time`: of all, with what is hidden left out and the host's waiting added."""

    operators: list[Priced]
    time: Time


def engine(model: Model, chip: Chip, plan: Plan, formats: Formats, software: Software) -> Engine:
    """With the chip's usual machine and fitted constants."""
    return Engine(model, plan, formats, Price(chip, software), nodes.of(chip))


def iteration(engine: Engine, batch: Batch) -> Iteration:
    """One iteration; Unknown names a figure that it needs and no source states."""
    priced = [
        Priced(o, _time(engine, o).times(o.times), _measured(engine, o)) for o in operators(engine.context(batch))
    ]
    computing = together(p.time for p in priced if isinstance(p.operator.what, Kernel))
    hidden = together(p.time for p in priced if _hides(p.operator))
    open_ = together(p.time for p in priced if isinstance(p.operator.what, Message) and not _hides(p.operator))
    device = together((overlapped(computing, hidden, engine.software.overlap), open_))
    return Iteration(priced, device._replace(host=_host(engine, batch, priced, device.seconds)))


def _hides(operator: Operator) -> bool:
    """Messages of expert parallelism have another micro-batch to hide behind."""
    return isinstance(operator.what, Message) and operator.what.kind in ("dispatch", "combine")


def _host(engine: Engine, batch: Batch, priced: list[Priced], device: float) -> float:
    """The engine's own work between iterations, and waiting for kernels that are not launched fast enough.

    A processor launches its own kernels: nothing of that work hides behind computing.
    """
    software, constants = engine.software, engine.price.constants
    if software.prefill_graphs if batch.prefill else software.graphs:
        return constants.step.value
    launched = sum(_launches(p.operator) for p in priced) * software.kernels * constants.host.value
    hidden = 0.0 if engine.price.chip.torch.device == "cpu" else device
    return constants.step.value + max(launched - hidden, 0.0)


def _launches(operator: Operator) -> float:
    return operator.times * (operator.what.count if isinstance(operator.what, Kernel) else 1.0)


def _measured(engine: Engine, operator: Operator) -> bool:
    return isinstance(operator.what, Kernel) and engine.price.correction(operator.what) is not None


def _time(engine: Engine, operator: Operator) -> Time:
    if isinstance(operator.what, Kernel):
        return engine.price.kernel(operator.what)
    moved = transfer(engine, operator.what)
    return Time(link=moved.link, latency=moved.latency)


def transfer(engine: Engine, message: Message) -> links.Transfer:
    """Seconds of one collective; Unknown names a link's rate that no source states."""
    constants = engine.price.constants
    reached = links.Efficiency(constants.link.value, constants.latency.value)
    group = links.Group(message.ranks, message.stride)
    if message.top_k:
        routing = links.Routing(message.tokens, message.bytes, message.top_k, message.servers)
        return links.dispatch(engine.node, group, routing, reached)
    plain = {"all_reduce": links.all_reduce, "all_gather": links.all_gather, "send": links.point_to_point}
    return plain[message.kind](engine.node, group, message.bytes, reached)
