"""The page: what the records say, in the order in which a reader needs it."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from xinqiao.record.files import Record
from xinqiao.record.schema import Incident, Occurrence, OperatorRow, PortRecord, RunRecord, Support
from xinqiao.report import charts, numbers
from xinqiao.report.lineup import Lineup, line_up
from xinqiao.report.words import Language, say

VERDICTS = ("needs-you", "refused-by-chip", "rewritten", "safe")
OPERATORS = 25  # bars; the rest is one line
OPEN = 12  # occurrences shown before the reader unfolds the rest


@dataclass(frozen=True)
class Bar:
    """All calls of one operator at one dtype. share: of the longest bar, 0 to 1."""

    operator: str
    dtype: str
    calls: int
    seconds: float
    flops: float
    bytes: float
    support: Support
    share: float


def verdict(records: list[Record], language: Language) -> str:
    """What happened, in a few plain sentences."""
    speak = partial(say, language)
    runs, ports = split(records)
    said = []
    if runs:
        said.append(_how_it_ran(runs[-1], bool(ports), language))
        compared = line_up(runs)
        if compared is not None:
            said.append(_how_it_compares(compared, language))
        said += _what_the_chip_refused(runs[-1], language)
    if ports:
        left = sum(o.verdict in ("needs-you", "refused-by-chip") for p in ports for o in p.occurrences)
        said.append(speak("verdict_needs_you", count=left) if left else speak("verdict_needs_nobody"))
    return ("" if language == "zh" else " ").join(said)


def _how_it_ran(run: RunRecord, is_port: bool, language: Language) -> str:  # noqa: FBT001
    who = say(language, "the_port" if is_port else "the_program")
    key = "verdict_failed" if run.exit_code else "verdict_ran"
    return say(language, key, who=who, chip=chip_name(run, language), code=run.exit_code)


def _how_it_compares(compared: Lineup, language: Language) -> str:
    chip = chip_name(compared.runs[0], language)
    if compared.difference is None:
        return say(language, "verdict_uncompared")
    if compared.identical:
        return say(language, "verdict_same", count=len(compared.series[0]), chip=chip)
    return say(language, "verdict_differs", difference=f"{compared.difference:.3g}", chip=chip)


def _what_the_chip_refused(run: RunRecord, language: Language) -> list[str]:
    found = Counter(i.support for i in run.incidents)
    return [
        say(language, f"verdict_{support}", count=found[support])
        for support in ("refused", "fallback")
        if found[support]
    ]


def chip_name(run: RunRecord, language: Language) -> str:
    """'virtual Huawei Ascend 910C', or the plain name of a real one."""
    return say(language, "virtual" if run.virtual else "real", chip=run.title)


def split(records: list[Record]) -> tuple[list[RunRecord], list[PortRecord]]:
    return [r for r in records if isinstance(r, RunRecord)], [r for r in records if isinstance(r, PortRecord)]


def bars(run: RunRecord) -> list[Bar]:
    """Operators by predicted time, longest first."""
    sums: dict[tuple[str, str], list[OperatorRow]] = {}
    for row in run.operators:
        sums.setdefault((row.operator, row.dtype), []).append(row)
    found = [(name, dtype, rows, sum(r.seconds for r in rows)) for (name, dtype), rows in sums.items()]
    found.sort(key=lambda f: (-f[3], f[0], f[1]))
    longest = found[0][3] if found else 1.0
    return [
        Bar(name, dtype, sum(r.count for r in rows), total, sum(r.flops for r in rows), sum(r.bytes for r in rows),
            worst(rows), total / longest if longest else 0.0)
        for name, dtype, rows, total in found
    ]  # fmt: skip


def worst(rows: list[OperatorRow]) -> Support:
    """The support that a reader must know of, when rows differ."""
    order: tuple[Support, ...] = ("refused", "fallback", "unknown", "native")
    return min((r.support for r in rows), key=order.index)


def memory_charts(run: RunRecord, language: Language) -> list[tuple[str, Markup | None]]:
    """(sentence, curve) of every device that was used."""
    shown: list[tuple[str, Markup | None]] = []
    for m in run.memory:
        capacity = numbers.data(m.capacity) if m.capacity else say(language, "capacity_unknown")
        note = say(language, "memory_note", peak=numbers.data(m.peak), capacity=capacity, device=m.device)
        points = [(p.seconds, float(p.bytes)) for p in m.curve]
        peak = f"{say(language, 'peak')} {numbers.data(m.peak)}"
        curve = charts.area(points, peak, numbers.seconds(points[-1][0]), note) if len(points) > 1 else None
        shown.append((note, curve))
    return shown


def numbers_chart(compared: Lineup | None, language: Language) -> Markup | None:
    if compared is None:
        return None
    labels = [chip_name(run, language) for run in compared.runs]
    return charts.lines(compared.series, labels, say(language, "numbers"))


def grouped(ports: list[PortRecord]) -> list[tuple[str, list[Occurrence]]]:
    """Occurrences by verdict, those that need a person first."""
    every = [o for p in ports for o in p.occurrences]
    groups = [(v, [o for o in every if o.verdict == v]) for v in VERDICTS]
    return [(v, found) for v, found in groups if found]


def incidents(runs: list[RunRecord]) -> list[tuple[RunRecord, Incident]]:
    return [(run, i) for run in runs for i in run.incidents]


def page(records: list[Record], *, lang: Language) -> str:
    """The whole page as HTML. Nothing in it is fetched from elsewhere, and nothing in it runs."""
    runs, ports = split(records)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    compared = line_up(runs)
    last = runs[-1] if runs else None
    subject = ports[-1].title if ports else (last.title if last else "")
    all_bars = bars(last) if last else []
    text = environment.get_template("page.html").render(
        lang="zh-Hans" if lang == "zh" else "en",
        say=partial(say, lang),
        numbers=numbers,
        title=say(lang, "title" if ports else "title_run", chip=subject),
        verdict=verdict(records, lang),
        runs=runs,
        ports=ports,
        groups=grouped(ports),
        open_count=OPEN,
        compared=compared,
        numbers_chart=numbers_chart(compared, lang),
        last=last,
        bars=all_bars[:OPERATORS],
        rest=all_bars[OPERATORS:],
        unknown=[b for b in all_bars if b.support == "unknown"],
        memory=memory_charts(last, lang) if last else [],
        incidents=incidents(runs),
        chip_name=lambda run: chip_name(run, lang),
        shapes=any(r.mode == "shapes" for r in runs),
    )
    return text
