"""A port on the terminal: what happened, and the places that need a person."""

from collections import Counter

import click

from xinqiao.record.schema import Occurrence, PortRecord, Verdict

_VERDICTS: tuple[Verdict, ...] = ("rewritten", "safe", "needs-you", "refused-by-chip")


def print_lines(record: PortRecord) -> None:
    """One line a place: file:line:column: rule verdict reason."""
    for o in record.occurrences:
        click.echo(_line(o))
    _print_counts(record)


def print_summary(record: PortRecord) -> None:
    """Counts, and the places that need you."""
    for o in record.occurrences:
        if o.verdict in ("needs-you", "refused-by-chip"):
            click.echo(_line(o))
    _print_counts(record)


def _line(o: Occurrence) -> str:
    return _plain(f"{o.file}:{o.line}:{o.column}: {o.rule} [{o.verdict}] {o.reason}")


def _print_counts(record: PortRecord) -> None:
    counts = Counter(o.verdict for o in record.occurrences)
    said = ", ".join(f"{counts[v]} {v}" for v in _VERDICTS if counts[v]) or "nothing CUDA-bound"
    click.echo(f"{record.files} files, {record.lines} lines, {record.changed} files changed: {said}")


def _plain(text: str) -> str:
    """Without control characters, which a file name may hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
