"""The answer about a model that is trained or fine-tuned."""

from msgspec.structs import replace

from xinqiao.cost.price import Interval
from xinqiao.size.answer import Answer
from xinqiao.size.telling import NO_SPEED, Known, background, chips, head, limits, rows
from xinqiao.size.training_setting import TrainingSetting


class TrainingAnswer(Known):
    """The answer about a model that is trained."""

    def __init__(self, setting: TrainingSetting, assumptions: list[str]) -> None:
        super().__init__(assumptions)
        self.setting = setting

    def answer(self) -> Answer:
        setting, request = self.setting, self.setting.request
        fits = self.fits(setting.needs(setting.way), setting.engine.usable, request.chip)
        self.too_large = fits.fits is False
        step = self.known(lambda: setting.step)
        rate = setting.interval(setting.per_second) if step else None
        self._assume()
        return replace(
            head(request, setting.engine, fits, setting.sequences / setting.chips),
            training_tokens_per_second_per_chip=rate,
            mfu=self.known(lambda: rate and self._utilisation(rate)),
            days=rate and self._days(rate),
            cost_per_million_tokens=rate and self._cost(rate),
            limits=limits(step) if step else (),
            by_operator=rows(self.known(setting.operators) or []),
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
        on_each = request.tokens / chips(self.setting.plan, request)
        return _inverse(rate, on_each / 86400) if request.tokens else None

    def _cost(self, rate: Interval) -> Interval | None:
        price = self.setting.request.price
        return _inverse(rate, price / 3600 * 1e6) if price else None

    def _assume(self) -> None:
        setting, request = self.setting, self.setting.request
        trained = f"adapters of rank {request.lora_rank} on frozen weights" if setting.frozen else "every weight"
        again = "layers computed again in the backward pass" if setting.way.checkpointing else "nothing computed again"
        self.assumptions += [
            *background(request, setting.engine),
            f"AdamW with fp32 states trains {trained}; ZeRO stage {setting.way.zero}; {again}",
            f"sequences of {request.workload.input:,} tokens, {setting.sequences * setting.plan.dp:,.0f} a step, "
            "in micro-batches of one",
        ]
        if self.too_large:
            self.assumptions.append(NO_SPEED)


def _scaled(found: Interval, factor: float) -> Interval:
    return Interval(found.value * factor, found.low * factor, found.high * factor)


def _inverse(found: Interval, amount: float) -> Interval:
    """Of so much at that rate."""
    return Interval(amount / found.value, amount / found.high, amount / found.low)
