"""From a request to its answer: the best plan, its figures, and what they rest on."""

from collections.abc import Callable
from typing import TypeVar

from xinqiao.cost.kernel import Kernel
from xinqiao.cost.price import Interval, Price
from xinqiao.cost.time import Time, together
from xinqiao.cost.unknown import Unknown
from xinqiao.size.answer import Answer, Fits, Gain, Row, Trade
from xinqiao.size.choose import formats
from xinqiao.size.evaluate import Setting
from xinqiao.size.iteration import Priced
from xinqiao.size.operators import Message
from xinqiao.size.request import Request, check
from xinqiao.size.search import best
from xinqiao.size.speed import Speed

T = TypeVar("T")
RESOURCES = {
    "arithmetic": ("compute", "attention"),
    "bandwidth": ("memory", "cache"),
    "links": ("link", "latency"),
    "launch and host": ("launch", "host"),
}


def answer(request: Request) -> Answer:
    """InputError for what cannot be asked; unknown figures of the chip are in `unknown`."""
    check(request)
    chosen, said = formats(request.model, request.chip, request.weights, request.cache, request.attention)
    setting = best(request, chosen)
    return Builder(setting, said).answer()


class Builder:
    """Collects what is unknown while it computes what is not."""

    def __init__(self, setting: Setting, assumptions: list[str]) -> None:
        self.setting, self.assumptions = setting, assumptions
        self.unknown: list[str] = []

    def answer(self) -> Answer:
        setting, request = self.setting, self.setting.request
        work = request.workload
        sequences = self._known(setting.sequences) or setting.most
        decode = self._known(lambda: setting.decode(sequences))
        prefill = self._known(setting.prefill)
        first = self._known(setting.first_token)
        serve = self._known(lambda: setting.serve(sequences))
        shown = {"prefill": prefill, "serve": serve}.get(request.phase, decode)
        self._assume(sequences)
        return Answer(
            model=request.model.name,
            chip=request.chip.name,
            phase=request.phase,
            chips=round(setting.plan.devices / request.per_chip) or 1,
            devices=setting.plan.devices,
            plan=setting.plan,
            formats=setting.formats,
            software=request.software.title,
            memory=self._fits(sequences),
            batch_per_chip=sequences / setting.chips,
            prefill_tokens_per_second_per_chip=self._rate(prefill),
            decode_tokens_per_second_per_chip=self._rate(decode),
            serving_tokens_per_second_per_chip=self._rate(serve),
            tpot_ms=self._milliseconds(decode and decode.time.times(1 / (1 + work.accepted))),
            ttft_ms=self._milliseconds(first),
            cost_per_million_tokens=self._cost(serve if request.phase == "serve" else shown),
            prefill_chips_per_decode_chip=self._ratio(prefill, decode),
            limits=_limits(shown.time) if shown else (),
            trade=self._known(lambda: self._trade(sequences)) or (),
            by_operator=self._rows(sequences),
            assumptions=tuple(self.assumptions),
            unknown=tuple(dict.fromkeys(self.unknown)),
        )

    def _known(self, compute: Callable[[], T]) -> T | None:
        try:
            return compute()
        except Unknown as missing:
            self.unknown.append(str(missing))
            return None

    def _rate(self, speed: Speed | None) -> Interval | None:
        return speed and self.setting.interval(speed.per_second / self.setting.chips, speed.time)

    def _milliseconds(self, time: Time | None) -> Interval | None:
        return time and self.setting.interval(time.seconds * 1e3, time)

    def _cost(self, speed: Speed | None) -> Interval | None:
        price = self.setting.request.price
        if not price or speed is None:
            return None
        return self.setting.interval(price / 3600 * 1e6 / (speed.per_second / self.setting.chips), speed.time)

    def _ratio(self, prefill: Speed | None, decode: Speed | None) -> float | None:
        """Chips of prompts for each chip of answers, in separate instances of both, that neither waits for the other."""
        work = self.setting.request.workload
        if prefill is None or decode is None:
            return None
        return work.input * (1 - work.hit_rate) / prefill.per_second / (work.output / decode.per_second)

    def _fits(self, sequences: float) -> Fits:
        memory = self.setting.memory(max(sequences, 1.0))
        capacity = self.setting.engine.price.device.capacity
        if capacity is None:
            self.unknown.append(f"memory capacity of {self.setting.request.chip.title}")
        fits = None if capacity is None else memory.total <= self.setting.usable * 1.0001
        return Fits(memory._asdict(), memory.total, capacity, fits)

    def _trade(self, sequences: float) -> tuple[Trade, ...]:
        """From one sequence to as many as fit, each time twice as many."""
        setting, made, count = self.setting, [], 1.0
        most = max(setting.most, sequences)
        while count < most * 2:
            speed = setting.decode(min(count, most))
            per_token = speed.time.times(1 / (1 + setting.request.workload.accepted))
            rate = setting.interval(speed.per_second / setting.chips, speed.time)
            late = setting.interval(per_token.seconds * 1e3, speed.time)
            made.append(Trade(min(count, most) / setting.chips, late, rate))
            count *= 2
        return tuple(made)

    def _rows(self, sequences: float) -> tuple[Row, ...]:
        rows: dict[str, list[Priced]] = {}
        for one in self._known(lambda: self.setting.operators(sequences)) or []:
            rows.setdefault(one.operator.name, []).append(one)
        price = self.setting.engine.price
        return tuple(_row(name, each, price) for name, each in rows.items())

    def _assume(self, sequences: float) -> None:
        request, work = self.setting.request, self.setting.request.workload
        engine, node = self.setting.engine, self.setting.engine.node
        told = [
            f"software: {request.software.title} ({request.software.source})",
            f"machine: {node.title}",
            f"prompts of {work.input:,} tokens, answers of {work.output:,}, decoding after {work.depth:,.0f}",
            f"constants fitted {_NEAR[engine.price.level]}",
        ]
        if not work.batch:
            told.append(f"{sequences:,.0f} sequences in flight on {self.setting.chips:g} chips: as many as fit and keep the limits")
        if any(layer.experts for layer in request.model.layers) and engine.imbalance is None:
            told.append(f"the busiest device has {engine.price.constants.imbalance.value:.2f} × the mean load of experts")
        if request.model.note:
            told.append(request.model.note)
        self.assumptions += told


_NEAR = {
    "measured": "to kernels measured on this device",
    "chip": "to published measurements of this chip",
    "vendor": "to published measurements of this vendor's chips",
    "shared": "to other vendors' chips only: the interval is wide",
}


def _row(name: str, priced: list[Priced], price: Price) -> Row:
    """One name's kernels or messages in all layers."""
    time, what = together(one.time for one in priced), priced[0].operator.what
    kernels = [(one.operator.times * one.operator.what.count, one.operator.what)
               for one in priced if isinstance(one.operator.what, Kernel)]  # fmt: skip
    return Row(
        name,
        priced[0].operator.part,
        time.seconds,
        time.bound,
        _level(what, price),
        sum(count * kernel.flops for count, kernel in kernels),
        sum(count * (kernel.bytes + kernel.cache) for count, kernel in kernels),
        what.format if isinstance(what, Kernel) else "",
    )


def _level(what: Kernel | Message, price: Price) -> str:
    """How the time was found: from measured kernels, an efficiency that grows with the rows, or one constant."""
    if isinstance(what, Kernel) and price.correction(what):
        return "measured"
    return "curve" if what.kind in ("gemm", "grouped_gemm") else "roofline"


def _limits(time: Time) -> tuple[Gain, ...]:
    total = time.seconds
    gains = []
    for resource, parts in RESOURCES.items():
        share = sum(getattr(time, part) for part in parts) / total
        gains.append(Gain(resource, share, 1 / (1 - share + share / 1.1) - 1))
    return tuple(sorted(gains, key=lambda gain: -gain.share))
