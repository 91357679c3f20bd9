"""The answer about a model that serves."""

from msgspec.structs import replace

from xinqiao.cost.price import Interval
from xinqiao.cost.time import Time
from xinqiao.size.answer import Answer, Trade
from xinqiao.size.evaluate import Setting
from xinqiao.size.speed import Speed
from xinqiao.size.telling import NO_SPEED, Known, background, head, limits, rows


class ServingAnswer(Known):
    """The answer about a model that serves."""

    def __init__(self, setting: Setting, assumptions: list[str]) -> None:
        super().__init__(assumptions)
        self.setting = setting

    def answer(self) -> Answer:
        setting, request = self.setting, self.setting.request
        work = request.workload
        sequences = self.known(lambda: setting.sequences) or setting.most
        fits = self.fits(setting.memory(max(sequences, 1.0)), setting.engine.usable, request.chip)
        self.too_large = fits.fits is False
        decode = self.known(lambda: setting.decode(sequences))
        prefill = self.known(setting.prefill)
        first = self.known(setting.first_token)
        serve = self.known(lambda: setting.serve(sequences))
        shown = {"prefill": prefill, "serve": serve}.get(request.phase, decode)
        paced = serve if request.phase == "serve" else decode
        self._assume(sequences)
        return replace(
            head(request, setting.engine, fits, sequences / setting.chips),
            prefill_tokens_per_second_per_chip=self._rate(prefill),
            decode_tokens_per_second_per_chip=self._rate(decode),
            serving_tokens_per_second_per_chip=self._rate(serve),
            tpot_ms=self._milliseconds(paced and paced.time.times(1 / (1 + work.accepted))),
            ttft_ms=self._milliseconds(first),
            cost_per_million_tokens=self._cost(shown),
            prefill_chips_per_decode_chip=self._ratio(prefill, decode),
            limits=limits(shown.time) if shown else (),
            trade=self.known(lambda: self._trade(sequences)) or (),
            by_operator=rows(self.known(lambda: setting.operators(sequences)) or []),
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
            *background(request, engine),
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
