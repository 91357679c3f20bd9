"""One traversal of a file for all rules; every CUDA-bound place comes out with a verdict."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xinqiao.port.additions import Added
from xinqiao.port.header import header
from xinqiao.port.leftovers import leftovers
from xinqiao.port.rule import Finding, rules
from xinqiao.port.source import Edit, Source, apply
from xinqiao.port.target import Target
from xinqiao.record.schema import Occurrence

LEFTOVERS = "other-places"


@dataclass
class Ported:
    """What became of one file.

    data    its new bytes, in its own encoding; None where nothing changes
    edits   the same as edits of the file's UTF-8 form
    adds    files that come into the project with it
    """

    path: str
    occurrences: list[Occurrence] = field(default_factory=list)
    data: bytes | None = None
    edits: list[Edit] = field(default_factory=list)
    adds: set[Added] = field(default_factory=set)


def port_source(source: Source) -> Ported:
    """Run all rules over a file. On a chip whose device is 'cuda' already nothing is rewritten."""
    findings = _without_swallowed(list(_findings(source)), source)
    claimed = [(source.start(f.node), source.end(f.node)) for _, f in findings]
    findings += [(LEFTOVERS, f) for f in leftovers(source, claimed)]
    findings = [(name, _allowed(f, source.target)) for name, f in findings]
    edits = sorted({e for _, f in findings for e in f.edits})
    needs = {n for _, f in findings for n in f.needs}
    occurrences = [_occurrence(name, f, source, edits) for name, f in findings]
    occurrences.sort(key=lambda o: (o.line, o.column, o.rule))
    adds = {added for _, f in findings for added in f.adds}
    if not edits:
        return Ported(source.path, occurrences, adds=adds)
    edits += header(source, needs)
    return Ported(source.path, occurrences, source.encode(apply(source.data, edits)), edits, adds)


def _findings(source: Source) -> Iterator[tuple[str, Finding]]:
    table = rules()
    for node in ast.walk(source.tree):
        for name, function in table.get(type(node), ()):
            for finding in function(node, source):
                yield name, finding


def _without_swallowed(found: list[tuple[str, Finding]], source: Source) -> list[tuple[str, Finding]]:
    """Leave out what lies inside a piece of code that another finding replaces whole."""
    replaced = [(e.start, e.end, f.node) for _, f in found for e in f.edits if e.end > e.start]
    return [
        (name, f)
        for name, f in found
        if not any(
            begin <= source.start(f.node) and source.end(f.node) <= end and f.node is not node
            for begin, end, node in replaced
        )
    ]


def _allowed(finding: Finding, target: Target) -> Finding:
    """The finding, without a rewrite that is not wanted here."""
    if finding.verdict != "rewritten":
        return finding
    if target.audit:
        return Finding(finding.node, "safe", "this chip's PyTorch device is 'cuda'")
    if finding.risky and not target.risky:
        return Finding(finding.node, "needs-you", f"{finding.reason}; --risky makes this rewrite")
    return finding


def _occurrence(name: str, finding: Finding, source: Source, edits: Iterable[Edit]) -> Occurrence:
    start, end = source.start(finding.node), source.end(finding.node)
    line, column = source.position(start)
    end_line, end_column = source.position(end)
    inside = [e for e in edits if start <= e.start and e.end <= end]
    return Occurrence(
        file=source.path,
        line=line,
        column=column,
        end_line=end_line,
        end_column=end_column,
        rule=name,
        verdict=finding.verdict,
        before=source.data[start:end].decode(),
        after=apply(source.data, inside, start, end).decode() if finding.verdict == "rewritten" else "",
        reason=finding.reason,
    )
