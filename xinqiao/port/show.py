"""A port on the terminal: what happened, and the places that need a person."""

from collections import Counter
from collections.abc import Iterable

import click

from xinqiao.port.pages import Page
from xinqiao.record.schema import Dependency, Occurrence, PortRecord, Summary

_LEFT = ("needs-you", "refused-by-chip")  # verdicts that leave work


def print_lines(record: PortRecord) -> None:
    """One line a place: file:line:column: rule [verdict] reason."""
    for o in record.occurrences:
        click.echo(_line(o))
    _print_end(record)


def print_summary(record: PortRecord) -> None:
    """Counts, and the places that need you."""
    for o in record.occurrences:
        if o.verdict in _LEFT:
            click.echo(_line(o))
    _print_end(record)


def findings(record: PortRecord, *, with_rewrites: bool) -> bool:
    """Whether something is left: places that need a person, or, for a check, places that a port would rewrite."""
    wanted = (*_LEFT, "rewritten") if with_rewrites else _LEFT
    return any(o.verdict in wanted for o in record.occurrences)


def print_rules(rules: Iterable[Page]) -> None:
    """One line a rule."""
    listed = list(rules)
    width = max(len(p.name) for p in listed)
    for p in listed:
        click.echo(f"{p.name:{width}}  {p.title}")


def print_rule(page: Page) -> None:
    """All that one rule says of itself."""
    click.echo(f"{page.name}: {page.title}\n")
    for title, text in parts(page):
        click.echo(click.wrap_text(f"{title}: {text}", width=100))
    if page.example:
        click.echo("\n" + "\n".join(f"    {line}" for line in page.example.splitlines()))


def parts(page: Page) -> list[tuple[str, str]]:
    """What a page says, with its headings."""
    said = [
        ("What it does", page.does), ("Why", page.why), ("Unsafe when", page.unsafe), ("Source", page.source),
    ]  # fmt: skip
    return [(title, text) for title, text in said if text]


def _line(o: Occurrence) -> str:
    risky = ", risky" if o.risky else ""
    return _plain(f"{o.file}:{o.line}:{o.column}: {o.rule} [{o.verdict}{risky}] {o.reason}")


def _print_end(record: PortRecord) -> None:
    s = record.summary
    risky = sum(o.risky and o.verdict == "rewritten" for o in record.occurrences)
    more = f" ({risky} of them risky)" if risky else ""
    click.echo(f"{s.files} files, {s.lines} lines, {s.changed} files changed: {_counts(s)}{more}")
    if record.dependencies:
        click.echo("\nInstalled packages that this project imports, with CUDA-bound places of their own:")
        for d in record.dependencies:
            click.echo("\n".join(_plain(line) for line in _dependency(d)))


def _counts(s: Summary) -> str:
    counted = ((s.rewritten, "rewritten"), (s.safe, "safe"), (s.needs_you, _LEFT[0]), (s.refused, _LEFT[1]))
    return ", ".join(f"{n} {word}" for n, word in counted if n) or "nothing CUDA-bound"


def _dependency(d: Dependency) -> list[str]:
    """A package, its worst files, and what can be done about it."""
    counts = _counts(d.summary).replace("rewritten", "that port can rewrite")
    worst = Counter(o.file for o in d.occurrences if o.verdict != "safe").most_common(3)
    lines = [f"  {d.package} {d.version}: {counts}"]
    if worst:
        lines.append("    most of them in " + ", ".join(f"{file} ({n})" for file, n in worst))
    if d.choice:
        done = {"patch": "a ported copy of it is in the project", "translate": "it is translated when it is imported"}
        return [*lines, f"    {done[d.choice]}"]
    if d.known:
        lines.append(f"    {d.known}")
    if not d.summary.rewritten:
        return lines  # a copy or a translation would change nothing
    lines.append(f"    --patch {d.package}: a ported copy goes into the project, where Python finds it first")
    lines.append(f"    --translate {d.package}: its own calls of torch.cuda are translated when it is imported")
    return lines


def _plain(text: str) -> str:
    """Without control characters, which a file name may hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
