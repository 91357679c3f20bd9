"""What each section of the page shows of the records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from xinqiao.record.schema import (
    Dependency,
    Memory,
    Occurrence,
    OperatorRow,
    PortRecord,
    ProofRecord,
    RunRecord,
    Support,
    Verdict,
)
from xinqiao.report import charts
from xinqiao.report.words import Language, say

VERDICTS: tuple[Verdict, ...] = ("needs-you", "refused-by-chip", "rewritten", "safe")
SUPPORTS: tuple[Support, ...] = ("refused", "fallback", "unknown", "native")  # what a reader must know of, first
SEEN_AGAINST_CAPACITY = 0.1  # below this share of the capacity a curve would be a line on the floor


@dataclass(frozen=True)
class Bar:
    """All calls of one operator at one dtype."""

    operator: str
    dtype: str
    calls: int
    seconds: float
    flops: float
    bytes: float
    support: Support
    drawing: Markup  # as long as its share of the longest bar


@dataclass(frozen=True)
class MemoryView:
    """One device's memory. curve: None where the run recorded none."""

    memory: Memory
    curve: Markup | None
    top: int  # bytes at the upper edge of the curve's frame
    length: float  # simulated seconds from edge to edge

    @property
    def against_capacity(self) -> bool:
        return self.top == self.memory.capacity


def bars(run: RunRecord) -> list[Bar]:
    """Operators by predicted time, longest first."""
    sums: dict[tuple[str, str], list[OperatorRow]] = {}
    for row in run.operators:
        sums.setdefault((row.operator, row.dtype), []).append(row)
    totals = sorted(((sum(r.seconds for r in rows), key) for key, rows in sums.items()), key=lambda t: (-t[0], t[1]))
    longest = totals[0][0] if totals else 0.0
    return [_bar(sums[key], seconds, seconds / longest if longest else 0.0) for seconds, key in totals]


def _bar(rows: list[OperatorRow], seconds: float, share: float) -> Bar:
    support = min((r.support for r in rows), key=SUPPORTS.index)
    return Bar(
        operator=rows[0].operator,
        dtype=rows[0].dtype,
        calls=sum(r.count for r in rows),
        seconds=seconds,
        flops=sum(r.flops for r in rows),
        bytes=sum(r.bytes for r in rows),
        support=support,
        drawing=charts.bar(share, support),
    )


def memory(run: RunRecord, language: Language) -> list[MemoryView]:
    """Every device that the run used."""
    return [_memory_view(m, say(language, "memory_title")) for m in run.memory]


def _memory_view(m: Memory, title: str) -> MemoryView:
    against = m.capacity and m.peak >= SEEN_AGAINST_CAPACITY * m.capacity
    top = m.capacity if m.capacity and against else max(m.peak, 1)
    points = [(p.seconds, float(p.bytes)) for p in m.curve]
    curve = charts.area(points, top, title) if len(points) > 1 else None
    return MemoryView(m, curve, top, points[-1][0] if points else 0.0)


def places(ports: Sequence[PortRecord]) -> list[tuple[Verdict, list[Occurrence]]]:
    """Occurrences by verdict, those that need a person first, each group in the order of the files."""
    every = sorted((o for p in ports for o in p.occurrences), key=lambda o: (o.file, o.line, o.column))
    groups = [(v, [o for o in every if o.verdict == v]) for v in VERDICTS]
    return [(v, found) for v, found in groups if found]


def dependencies(ports: Sequence[PortRecord]) -> list[Dependency]:
    """Installed packages that have CUDA-bound places, most places first."""
    found = [d for p in ports if p.dependencies for d in p.dependencies if d.occurrences]
    return sorted(found, key=lambda d: (-len(d.occurrences), d.package))


class Count(NamedTuple):
    """words: a key of the page's words that says what is counted."""

    words: str
    part: int
    all: int


def counts(proof: ProofRecord) -> list[Count]:
    """What a proof compared, and how much of it is the same."""
    return [
        Count("count_numbers", proof.numbers_equal, proof.numbers),
        Count("count_printed", proof.printed_equal, proof.printed),
        Count("count_calls", proof.calls_equal, proof.calls),
        Count("count_modules", proof.modules_equal, proof.modules),
        Count("count_changed", proof.changed - len(proof.unproven), proof.changed),
    ]
