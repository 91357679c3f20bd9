"""What the page of `size` shows of its answers."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup
from msgspec.structs import astuple

from xinqiao.record.sizes import Answer, Operator, Range
from xinqiao.report import charts, numbers, plots
from xinqiao.report.words import Language, say

FORMATS = ("fp16", "bf16", "fp8", "int8", "fp4")  # whose roofs are drawn whether they are used or not
STYLES = {"compute": "native", "attention": "native", "memory": "fallback", "cache": "fallback", "link": "refused",
          "latency": "refused", "launch": "unknown", "core": "unknown", "host": "unknown"}  # fmt: skip
FIGURES = (
    *("prefill_tokens_per_second_per_chip", "decode_tokens_per_second_per_chip", "serving_tokens_per_second_per_chip"),
    *("training_tokens_per_second_per_chip", "tpot_ms", "ttft_ms", "mfu", "days", "cost_per_million_tokens"),
)  # of an answer, in the order of the table
_RATES = {
    "prefill": "prefill_tokens_per_second_per_chip",
    "decode": "decode_tokens_per_second_per_chip",
    "serve": "serving_tokens_per_second_per_chip",
}


class Bar(NamedTuple):
    """One chip's prediction. drawing: hatched where `found` is None, and `why` says what is missing."""

    name: str
    found: Range | None
    why: str
    drawing: Markup


class Piece(NamedTuple):
    """kind: of piece, as the page's style tells them apart."""

    kind: int
    part: str
    bytes: float


class Store(NamedTuple):
    """One chip's memory: what one device holds."""

    name: str
    pieces: list[Piece]
    total: float
    capacity: float | None
    drawing: Markup


def machine(answer: Answer) -> str:
    """'8 × TITLE'."""
    return f"{answer.chips:,} × {answer.title}"


def rate(answer: Answer) -> Range | None:
    """Tokens/s a chip of the phase that was asked for; None where it does not fit or is unknown."""
    if answer.memory.fits is False:
        return None
    found: Range | None = getattr(answer, _RATES.get(answer.phase, "training_tokens_per_second_per_chip"))
    return found


def total(answer: Answer) -> Range | None:
    """Tokens/s of all chips together."""
    one = rate(answer)
    return one and Range(*(end * answer.chips for end in astuple(one)))


def interval(found: Range) -> str:
    """'190 (160–226)'."""
    value, low, high = map(numbers.figure, astuple(found))
    return f"{value} ({low}–{high})"


def missing(answer: Answer, language: Language) -> str:
    """Why there is no rate."""
    if answer.memory.fits is False:
        return say(language, "size_not_fitting")
    return say(language, "size_unknown", facts="; ".join(answer.unknown) or say(language, "size_not_told"))


def sentence_of(answer: Answer, language: Language) -> str:
    """Does it fit, how fast, how late: one sentence."""
    memory = answer.memory
    parts = {"model": answer.model, "format": answer.formats.weights, "chip": machine(answer)}
    parts["total"] = numbers.memory(memory.total)
    if memory.fits is False:
        capacity = numbers.memory(memory.capacity or 0.0)
        return say(language, "size_too_big", capacity=capacity, **parts)
    said = say(language, "size_fits" if memory.fits else "size_fits_unknown", **parts)
    found = rate(answer)
    if found is None:
        return said + say(language, "size_no_speed", facts="; ".join(answer.unknown) or say(language, "size_not_told"))
    said += say(language, "size_speed", rate=interval(found))
    late = answer.tpot_ms if answer.phase in ("decode", "serve") else None
    return said + (say(language, "size_late", ms=interval(late)) if late else "") + say(language, "stop")


def verdict(answers: Sequence[Answer], language: Language) -> str:
    """Which machine makes the most, and whether the intervals tell it from the others."""
    if len(answers) == 1:
        return sentence_of(answers[0], language)
    known = [(answer, found) for answer in answers if (found := total(answer))]
    if not known:
        return say(language, "size_none_known")
    best, made = max(known, key=lambda pair: pair[1].value)
    near = [machine(answer) for answer, found in known if answer is not best and found.high >= made.low]
    between = "" if language == "zh" else " "
    said = [say(language, "size_best", chip=machine(best), rate=interval(made))]
    if near:
        said.append(say(language, "size_not_apart", others=", ".join(near)))
    silent = [machine(answer) for answer in answers if total(answer) is None]
    if silent:
        said.append(say(language, "size_without", others=", ".join(silent)))
    return between.join(said)


def bars(answers: Sequence[Answer], language: Language, *, together: bool) -> list[Bar]:
    """Throughput of each chip, or of all of an answer's chips together, on one scale."""
    found = [total(answer) if together else rate(answer) for answer in answers]
    top = max((one.high for one in found if one), default=1.0)
    return [_bar(answer, one, top, language) for answer, one in zip(answers, found, strict=True)]


def _bar(answer: Answer, found: Range | None, top: float, language: Language) -> Bar:
    drawing = plots.whisker(found.value, found.low, found.high, top) if found else plots.hatched()
    return Bar(machine(answer), found, "" if found else missing(answer, language), drawing)


def stores(answers: Sequence[Answer]) -> list[Store]:
    """Memory of one device of each answer, on one scale."""
    top = max(max(a.memory.total, a.memory.capacity or 0.0) for a in answers) or 1.0
    return [_store(answer, top) for answer in answers]


def _store(answer: Answer, top: float) -> Store:
    memory = answer.memory
    pieces = [Piece(i % plots.PARTS, name, held) for i, (name, held) in enumerate(memory.parts.items()) if held]
    drawing = plots.stacked([(piece.kind, piece.bytes) for piece in pieces], top, memory.capacity)
    return Store(machine(answer), pieces, memory.total, memory.capacity, drawing)


def share(answer: Answer, operator: Operator) -> float:
    """Of the seconds of all operators."""
    return operator.seconds / (sum(o.seconds for o in answer.by_operator) or 1.0)


def roofline(answer: Answer, language: Language) -> plots.Plot | None:
    """None where no operator multiplies, or a figure of the chip is unknown."""
    products = [o for o in answer.by_operator if o.flops and o.bytes and o.seconds]
    used = {o.format for o in products}
    peaks: dict[float, list[str]] = {}
    for name in (*FORMATS, *sorted(used - {*FORMATS})):
        if name in answer.roofs:
            peaks.setdefault(answer.roofs[name], []).append(name)
    if not (products and peaks and answer.bandwidth):
        return None
    dots = [
        plots.Dot(o.name, o.flops / o.bytes, o.flops / o.seconds, share(answer, o), STYLES.get(o.bound, "unknown"))
        for o in products
    ]
    roofs = [
        plots.Roof(f"{', '.join(names)} {numbers.flops(peak)}/s", peak, not used.isdisjoint(names))
        for peak, names in peaks.items()
    ]
    return plots.roofline(say(language, "roofline"), dots, roofs, answer.bandwidth)


def trade(answers: Sequence[Answer], language: Language) -> plots.Plot | None:
    """A curve for each answer that has one."""
    drawn = [_curve(answer) for answer in traded(answers)]
    return plots.trade(say(language, "size_trade"), drawn) if drawn else None


def traded(answers: Sequence[Answer]) -> list[Answer]:
    """Those with more than one point."""
    return [answer for answer in answers if len(answer.trade) > 1 and answer.memory.fits is not False]


def _curve(answer: Answer) -> plots.Curve:
    """A time that is longer than predicted makes fewer tokens: both ends move together."""
    pairs = [(t.tpot_ms, t.tokens_per_second_per_chip) for t in answer.trade]
    return plots.Curve(
        [(late.value, made.value) for late, made in pairs],
        [(late.low, made.high) for late, made in pairs],
        [(late.high, made.low) for late, made in pairs],
    )


class Limit(NamedTuple):
    """A resource and how much of the time it bounds."""

    resource: str
    share: float
    ten_percent: float
    drawing: Markup


def limits(answer: Answer) -> list[Limit]:
    """Largest share first."""
    found = sorted(answer.limits, key=lambda gain: -gain.share)
    return [Limit(g.resource, g.share, g.ten_percent, charts.bar(min(g.share, 1.0), "native")) for g in found]


def rows(answer: Answer) -> list[Operator]:
    """Operators, the longest first."""
    return sorted(answer.by_operator, key=lambda o: -o.seconds)
