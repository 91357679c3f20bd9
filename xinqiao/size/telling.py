"""What answers of every kind tell: what is unknown, what fits, operators one by one, what limits them."""

from collections.abc import Callable
from typing import TypeVar

from xinqiao.chips.spec import Chip
from xinqiao.cost.kernel import Kernel
from xinqiao.cost.price import TORCH
from xinqiao.cost.time import Time, together
from xinqiao.cost.unknown import Unknown
from xinqiao.size.answer import Answer, Fits, Gain, Row
from xinqiao.size.iteration import Engine, Priced
from xinqiao.size.memory import Memory
from xinqiao.size.plan import Plan
from xinqiao.size.request import Request

T = TypeVar("T")
NO_SPEED = "it does not fit, so no speed is told"
RESOURCES = {
    "arithmetic": ("compute", "attention"),
    "bandwidth": ("memory", "cache"),
    "links": ("link", "latency"),
    "launch and host": ("launch", "core", "host"),
}


class Known:
    """Collects what is unknown while it computes what is not."""

    def __init__(self, assumptions: list[str]) -> None:
        self.assumptions = assumptions
        self.unknown: list[str] = []
        self.too_large = False  # no speed is told of what does not fit

    def known(self, compute: Callable[[], T]) -> T | None:
        if self.too_large:
            return None
        try:
            return compute()
        except Unknown as missing:
            self.unknown.append(str(missing))
            return None

    def fits(self, memory: Memory, usable: float, chip: Chip) -> Fits:
        capacity = chip.per_device().capacity
        if capacity is None:
            self.unknown.append(f"memory capacity of {chip.title}")
        fits = None if capacity is None else memory.total <= usable * 1.0001
        return Fits(memory._asdict(), memory.total, capacity, fits)


def head(request: Request, engine: Engine, memory: Fits, batch_per_chip: float) -> Answer:
    """What every answer says before its speeds."""
    return Answer(
        model=request.model.name,
        chip=request.chip.name,
        title=request.chip.title,
        phase=request.phase,
        chips=chips(engine.plan, request),
        devices=engine.plan.devices,
        plan=engine.plan,
        formats=engine.formats,
        software=request.software.title,
        memory=memory,
        batch_per_chip=batch_per_chip,
        roofs=roofs(request.chip),
        bandwidth=request.chip.per_device().bandwidth,
    )


def background(request: Request, engine: Engine) -> list[str]:
    """What every answer rests on."""
    told = [
        f"software: {request.software.title} ({request.software.source})",
        f"machine: {engine.node.title}",
        f"constants fitted {_NEAR[engine.price.level]}",
    ]
    if any(layer.experts for layer in request.model.layers) and engine.imbalance is None:
        told.append(f"the busiest device has {engine.price.constants.imbalance.value:.2f} × the mean load of experts")
    if request.model.note:
        told.append(request.model.note)
    return told


_NEAR = {
    "measured": "to kernels measured on this device",
    "chip": "to published measurements of this chip",
    "vendor": "to what is published of this vendor's chips, and of others where it has nothing of a kind",
    "shared": "to other vendors' chips only: the interval is wide",
}


def roofs(chip: Chip) -> dict[str, float]:
    """Peaks that sources state, of one device."""
    device = chip.per_device()
    return {form: peak for form, dtype in TORCH.items() if (peak := device.peak(dtype))}


def chips(plan: Plan, request: Request) -> int:
    """Packages that a plan takes."""
    return round(plan.devices / request.per_chip) or 1


def rows(priced: list[Priced]) -> tuple[Row, ...]:
    """One row a name."""
    found: dict[str, list[Priced]] = {}
    for one in priced:
        found.setdefault(one.operator.name, []).append(one)
    return tuple(_row(name, each) for name, each in found.items())


def _row(name: str, priced: list[Priced]) -> Row:
    """One name's kernels or messages in all layers."""
    time, what = together(one.time for one in priced), priced[0].operator.what
    kernels = [(one.operator.times * one.operator.what.count, one.operator.what)
               for one in priced if isinstance(one.operator.what, Kernel)]  # fmt: skip
    return Row(
        name,
        priced[0].operator.part,
        time.seconds,
        time.bound,
        "measured" if priced[0].measured else "curve" if what.kind in ("gemm", "grouped_gemm") else "roofline",
        sum(count * kernel.flops for count, kernel in kernels),
        sum(count * (kernel.bytes + kernel.cache) for count, kernel in kernels),
        what.format if isinstance(what, Kernel) else "",
        energy(time.bound, what.format if isinstance(what, Kernel) else ""),
    )


def energy(bound: str, form: str) -> str:
    """The class of an operator's energy: products of a format, memory, links, or waiting."""
    moved = {"memory": "memory", "cache": "memory", "link": "links", "latency": "links"}
    return f"{form} products" if bound in ("compute", "attention") else moved.get(bound, "waiting")


def limits(time: Time) -> tuple[Gain, ...]:
    """The largest first."""
    total = time.seconds
    gains = []
    for resource, parts in RESOURCES.items():
        share = sum(getattr(time, part) for part in parts) / total
        gains.append(Gain(resource, share, 1 / (1 - share + share / 1.1) - 1))
    return tuple(sorted(gains, key=lambda gain: -gain.share))
