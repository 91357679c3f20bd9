"""From a request to its answer: the best plan, its figures, and what they rest on."""

from collections.abc import Callable
from typing import TypeVar

from xinqiao.chips.spec import Chip
from xinqiao.cost.kernel import Kernel
from xinqiao.cost.price import TORCH, Interval
from xinqiao.cost.time import Time, together
from xinqiao.cost.unknown import Unknown
from xinqiao.size.answer import Answer, Fits, Gain, Row, Trade
from xinqiao.size.choose import Named, formats
from xinqiao.size.evaluate import Setting
from xinqiao.size.iteration import Engine, Priced
from xinqiao.size.memory import Memory
from xinqiao.size.plan import Plan
from xinqiao.size.request import Request, check
from xinqiao.size.search import best, best_training
from xinqiao.size.speed import Speed
from xinqiao.size.training_setting import TrainingSetting

T = TypeVar("T")
NO_SPEED = "it does not fit, so no speed is told"
RESOURCES = {
    "arithmetic": ("compute", "attention"),
    "bandwidth": ("memory", "cache"),
    "links": ("link", "latency"),
    "launch and host": ("launch", "core", "host"),
}


def answer(request: Request) -> Answer:
    """InputError for what cannot be asked; unknown figures of the chip are in `unknown`."""
    check(request)
    chosen, said = formats(request.model, request.chip, Named(request.weights, request.cache, request.attention))
    if request.learns:
        return TrainingBuilder(best_training(request, chosen), said).answer()
    return Builder(best(request, chosen), said).answer()


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


class Builder(Known):
    """The answer about a model that serves."""

    def __init__(self, setting: Setting, assumptions: list[str]) -> None:
        super().__init__(assumptions)
        self.setting = setting

    def answer(self) -> Answer:
        setting, request = self.setting, self.setting.request
        work = request.workload
        sequences = self.known(lambda: setting.sequences) or setting.most
        fits = self.fits(setting.memory(max(sequences, 1.0)), setting.usable, request.chip)
        self.too_large = fits.fits is False
        decode = self.known(lambda: setting.decode(sequences))
        prefill = self.known(setting.prefill)
        first = self.known(setting.first_token)
        serve = self.known(lambda: setting.serve(sequences))
        shown = {"prefill": prefill, "serve": serve}.get(request.phase, decode)
        paced = serve if request.phase == "serve" else decode
        self._assume(sequences)
        return Answer(
            model=request.model.name,
            chip=request.chip.name,
            title=request.chip.title,
            phase=request.phase,
            chips=_chips(setting.plan, request),
            devices=setting.plan.devices,
            plan=setting.plan,
            formats=setting.formats,
            software=request.software.title,
            memory=fits,
            batch_per_chip=sequences / setting.chips,
            roofs=roofs(request.chip),
            bandwidth=request.chip.per_device().bandwidth,
            prefill_tokens_per_second_per_chip=self._rate(prefill),
            decode_tokens_per_second_per_chip=self._rate(decode),
            serving_tokens_per_second_per_chip=self._rate(serve),
            tpot_ms=self._milliseconds(paced and paced.time.times(1 / (1 + work.accepted))),
            ttft_ms=self._milliseconds(first),
            cost_per_million_tokens=self._cost(shown),
            prefill_chips_per_decode_chip=self._ratio(prefill, decode),
            limits=limits(shown.time) if shown else (),
            trade=self.known(lambda: self._trade(sequences)) or (),
            by_operator=_rows(self.known(lambda: setting.operators(sequences)) or []),
            assumptions=tuple(self.assumptions),
            unknown=tuple(dict.fromkeys(self.unknown)),
        )

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
        """Chips of prompts for each chip of answers, apart from each other, so that neither waits for the other."""
        work = self.setting.request.workload
        if prefill is None or decode is None:
            return None
        return work.input * (1 - work.hit_rate) / prefill.per_second / (work.output / decode.per_second)

    def _trade(self, sequences: float) -> tuple[Trade, ...]:
        """From one sequence to as many as fit, each time twice as many."""
        setting, made, count = self.setting, [], 1.0
        most = max(setting.most, sequences)
        while count < most * 2:
            speed = setting.steps(min(count, most))
            per_token = speed.time.times(1 / (1 + setting.request.workload.accepted))
            rate = setting.interval(speed.per_second / setting.chips, speed.time)
            late = setting.interval(per_token.seconds * 1e3, speed.time)
            made.append(Trade(min(count, most) / setting.chips, late, rate))
            count *= 2
        return tuple(made)

    def _assume(self, sequences: float) -> None:
        request, work = self.setting.request, self.setting.request.workload
        engine = self.setting.engine
        told = [
            *_background(request, engine),
            f"prompts of {work.input:,} tokens, answers of {work.output:,}, decoding after {work.depth:,.0f}",
            "a cache in pages: sequences hold their mean length, one of them its full length",
        ]
        if work.drafted:
            told.append(f"{work.drafted} tokens drafted a step, {work.accepted:g} of them kept; drafting costs nothing")
        if self.too_large:
            told.append(NO_SPEED)
        elif not work.batch:
            where = f"{self.setting.chips:g} chips"
            told.append(f"{sequences:,.0f} sequences in flight on {where}: as many as fit and keep the limits")
        if not self.too_large and not self.setting.keeps:
            told.append("the limits on time are NOT kept: no plan on these chips keeps them, this one is the nearest")
        self.assumptions += told


def _background(request: Request, engine: Engine) -> list[str]:
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
    "vendor": "to published measurements of this vendor's chips",
    "shared": "to other vendors' chips only: the interval is wide",
}


class TrainingBuilder(Known):
    """The answer about a model that is trained."""

    def __init__(self, setting: TrainingSetting, assumptions: list[str]) -> None:
        super().__init__(assumptions)
        self.setting = setting

    def answer(self) -> Answer:
        setting, request = self.setting, self.setting.request
        fits = self.fits(setting.needs(setting.way), setting.usable, request.chip)
        self.too_large = fits.fits is False
        step = self.known(lambda: setting.step)
        rate = setting.interval(setting.per_second) if step else None
        self._assume()
        return Answer(
            model=request.model.name,
            chip=request.chip.name,
            title=request.chip.title,
            phase=request.phase,
            chips=_chips(setting.plan, request),
            devices=setting.plan.devices,
            plan=setting.plan,
            formats=setting.formats,
            software=request.software.title,
            memory=fits,
            batch_per_chip=setting.sequences / setting.chips,
            roofs=roofs(request.chip),
            bandwidth=request.chip.per_device().bandwidth,
            training_tokens_per_second_per_chip=rate,
            mfu=self.known(lambda: rate and self._utilisation(rate)),
            days=rate and self._days(rate),
            cost_per_million_tokens=rate and self._cost(rate),
            limits=limits(step) if step else (),
            by_operator=_rows(self.known(setting.operators) or []),
            assumptions=tuple(self.assumptions),
            unknown=tuple(dict.fromkeys(self.unknown)),
        )

    def _utilisation(self, rate: Interval) -> Interval:
        """Model FLOPs over the 16-bit peak: 6 a parameter and token, 4 where weights are frozen; attention left out."""
        setting = self.setting
        plain = setting.formats.plain
        peak = setting.engine.price.peak(plain) * setting.request.per_chip
        flops = (4 if setting.frozen else 6) * setting.request.model.active_parameters()
        return _scaled(rate, flops / peak)

    def _days(self, rate: Interval) -> Interval | None:
        request = self.setting.request
        chips = _chips(self.setting.plan, request)
        return _inverse(rate, request.tokens / chips / 86400) if request.tokens else None

    def _cost(self, rate: Interval) -> Interval | None:
        price = self.setting.request.price
        return _inverse(rate, price / 3600 * 1e6) if price else None

    def _assume(self) -> None:
        setting, request = self.setting, self.setting.request
        trained = f"adapters of rank {request.lora_rank} on frozen weights" if setting.frozen else "every weight"
        again = "layers computed again in the backward pass" if setting.way.checkpointing else "nothing computed again"
        self.assumptions += [
            *_background(request, setting.engine),
            f"AdamW with fp32 states trains {trained}; ZeRO stage {setting.way.zero}; {again}",
            f"sequences of {request.workload.input:,} tokens, {setting.sequences * setting.plan.dp:,.0f} a step, "
            "in micro-batches of one",
        ]
        if self.too_large:
            self.assumptions.append(NO_SPEED)


def roofs(chip: Chip) -> dict[str, float]:
    """Peaks that sources state, of one device."""
    device = chip.per_device()
    return {form: peak for form, dtype in TORCH.items() if (peak := device.peak(dtype))}


def _chips(plan: Plan, request: Request) -> int:
    return round(plan.devices / request.per_chip) or 1


def _scaled(found: Interval, factor: float) -> Interval:
    return Interval(found.value * factor, found.low * factor, found.high * factor)


def _inverse(found: Interval, amount: float) -> Interval:
    """Of so much at that rate."""
    return Interval(amount / found.value, amount / found.high, amount / found.low)


def _rows(priced: list[Priced]) -> tuple[Row, ...]:
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
