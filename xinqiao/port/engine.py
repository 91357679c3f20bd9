"""The rules over one file; every CUDA-bound place comes out with a verdict."""

import ast
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from xinqiao.port.additions import Added
from xinqiao.port.collect import facts_of
from xinqiao.port.dialect import ACCELERATOR, MODULE
from xinqiao.port.flow import together
from xinqiao.port.header import defines_otherwise
from xinqiao.port.leftovers import leftovers
from xinqiao.port.local_header import headers
from xinqiao.port.ranges import Ranges
from xinqiao.port.rule import Finding, rules
from xinqiao.port.source import Edit, Source, apply, tree_of
from xinqiao.port.surroundings import look_around
from xinqiao.port.target import Target
from xinqiao.record.schema import Occurrence

LEFTOVERS = "other-places"
_Found = list[tuple[str, Finding]]


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
    """Run all rules over a file. On a chip whose device is 'cuda' already nothing is rewritten.

    A file by itself is a project of one file.
    """
    if not source.project.complete:
        source.know(together([facts_of(source)]))
        source.around = look_around([(source.path, source.data)])
    findings = _without_swallowed(list(_findings(source)), source)
    claimed = Ranges((source.start(f.node), source.end(f.node), f.node) for _, f in findings)
    findings += [(LEFTOVERS, f) for f in leftovers(source, claimed)]
    taken = {name for name in (ACCELERATOR, MODULE) if defines_otherwise(source, name)}
    findings = [(name, _allowed(f, source, taken)) for name, f in findings]
    edits, data = _written(findings, source)
    if data is None and edits:
        findings = [(name, _by_hand(f)) for name, f in findings]
        edits = []
    occurrences = _occurrences(findings, source, edits)
    adds = {added for _, f in findings for added in f.adds}
    if data is None:
        return Ported(source.path, occurrences, adds=adds)
    return Ported(source.path, occurrences, data, edits, adds)


def _findings(source: Source) -> Iterator[tuple[str, Finding]]:
    for kind, registered in rules().items():
        for node in source.kinds.get(kind, ()):
            for name, function in registered.of(node, source):
                for finding in function(node, source):
                    yield name, finding


def _without_swallowed(found: _Found, source: Source) -> _Found:
    """Leave out what lies inside a piece of code that another finding replaces whole."""
    replaced = Ranges((e.start, e.end, f.node) for _, f in found for e in f.edits if e.end > e.start)
    return [(n, f) for n, f in found if not replaced.cover(source.start(f.node), source.end(f.node), f.node)]


def _allowed(finding: Finding, source: Source, taken: set[str]) -> Finding:
    """The finding, without a rewrite that is not wanted or not possible here."""
    target: Target = source.target
    if finding.verdict == "needs-you" and target.chip.platform.native:
        return Finding(finding.node, "safe", "it is made for this chip")
    if finding.verdict != "rewritten":
        return finding
    if target.audit:
        return Finding(finding.node, "safe", "this chip's PyTorch device is 'cuda'")
    if finding.risky and not target.risky:
        return Finding(finding.node, "needs-you", f"{finding.reason}; --risky makes this rewrite", risky=True)
    if used := sorted(taken.intersection(finding.needs)):
        reason = f"this file has a name {used[0]} of its own: rename it, and port again"
        return Finding(finding.node, "needs-you", reason)
    return finding if _is_where_it_says(finding.node, source) else _by_hand(finding)


def _is_where_it_says(node: ast.AST, source: Source) -> bool:
    """Python before 3.12 is not sure of positions inside f-strings."""
    if ast.FormattedValue not in source.kinds:
        return True
    parent = source.parent(node)
    while parent is not None and not isinstance(parent, ast.stmt | ast.FormattedValue):
        parent = source.parent(parent)
    if not (isinstance(parent, ast.FormattedValue) and isinstance(node, ast.expr)):
        return True
    try:
        written = tree_of(f"({source.text(node)})").body[0]
    except (SyntaxError, ValueError):
        return False
    return isinstance(written, ast.Expr) and ast.dump(written.value) == ast.dump(node)


def _by_hand(finding: Finding) -> Finding:
    if finding.verdict != "rewritten":
        return finding
    return Finding(finding.node, "needs-you", f"{finding.reason}; it cannot be rewritten in this place: do it by hand")


def _written(findings: _Found, source: Source) -> tuple[list[Edit], bytes | None]:
    """(edits, the file's new bytes); no bytes where nothing changes, or where they would be no Python."""
    edits = sorted({e for _, f in findings for e in f.edits})
    if not edits:
        return [], None
    edits += headers(source, (f for _, f in findings))
    changed = apply(source.data, edits)
    try:
        tree_of(changed.decode())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return edits, None
    return edits, source.encode(changed)


def _occurrences(findings: _Found, source: Source, edits: Sequence[Edit]) -> list[Occurrence]:
    ordered = sorted(edits)
    starts = [e.start for e in ordered]
    found = []
    placed = [(source.start(finding.node), name, finding) for name, finding in findings]
    for start, name, finding in sorted(placed, key=itemgetter(0, 1)):
        end = source.end(finding.node)
        inside = ordered[bisect_left(starts, start) : bisect_left(starts, end + 1)]
        (line, column), (end_line, end_column) = source.position(start), source.position(end)
        rewritten = finding.verdict == "rewritten"
        found.append(
            Occurrence(
                file=source.path,
                line=line,
                column=column,
                end_line=end_line,
                end_column=end_column,
                rule=name,
                verdict=finding.verdict,
                before=source.data[start:end].decode(),
                after=apply(source.data, inside, start, end).decode() if rewritten else "",
                reason=finding.reason,
                risky=finding.risky,
            )
        )
    return found
