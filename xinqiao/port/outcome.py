"""What an analysis found, as the record that is printed and kept."""

from collections import Counter
from collections.abc import Iterable

from xinqiao.port.engine import Ported
from xinqiao.port.target import Target
from xinqiao.record.schema import Occurrence, PortedFile, PortRecord, Summary

UNREAD = "files"  # the rule of what could not be read at all


def record_of(
    target: Target, looked_at: Iterable[str], ported: Iterable[Ported], lines: int, seconds: float
) -> PortRecord:
    """The record of one port.

    looked_at   every file's path; a ported file that is not among them is one that the port adds
    """
    found = {p.path: p for p in ported}
    paths = set(looked_at)
    files = [_file(path, found.get(path), added=path not in paths) for path in sorted(paths | found.keys())]
    occurrences = [o for p in found.values() for o in p.occurrences]
    occurrences.sort(key=lambda o: (o.file, o.line, o.column))
    return PortRecord(
        chip=target.chip.name,
        files=files,
        occurrences=occurrences,
        summary=summary_of(target, files, occurrences, lines, seconds),
    )


def summary_of(
    target: Target, files: list[PortedFile], occurrences: list[Occurrence], lines: int, seconds: float
) -> Summary:
    """The counts."""
    counts = Counter(o.verdict for o in occurrences)
    return Summary(
        title=target.chip.title,
        style=target.style,
        files=sum(not f.added for f in files),
        lines=lines,
        changed=sum(f.changed for f in files),
        rewritten=counts["rewritten"],
        safe=counts["safe"],
        needs_you=counts["needs-you"],
        refused=counts["refused-by-chip"],
        seconds=seconds,
    )


def _file(path: str, ported: Ported | None, *, added: bool) -> PortedFile:
    if ported is None:
        return PortedFile(file=path, changed=False)
    problem = next((o.reason for o in ported.occurrences if o.rule == UNREAD), "")
    changed = ported.data is not None and not added
    return PortedFile(file=path, changed=changed, added=added, problem=problem)
