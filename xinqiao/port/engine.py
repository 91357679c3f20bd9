"""One traversal of a file for all rules; every CUDA-bound place comes out with a verdict."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xinqiao.port.header import header
from xinqiao.port.leftovers import leftovers
from xinqiao.port.rule import Finding, rules
from xinqiao.port.source import Edit, Source, apply
from xinqiao.record.schema import Occurrence

LEFTOVERS = "other-places"


@dataclass
class Ported:
    """What became of one file. data: its new bytes, in its own encoding; None where nothing changes."""

    path: str
    occurrences: list[Occurrence] = field(default_factory=list)
    data: bytes | None = None


def port_source(source: Source, *, audit: bool) -> Ported:
    """Run all rules over a file. audit: the chip's device is 'cuda' already, so that nothing is rewritten."""
    findings = _without_swallowed(list(_findings(source)), source)
    claimed = [(source.start(f.node), source.end(f.node)) for _, f in findings]
    findings += [(LEFTOVERS, f) for f in leftovers(source, claimed)]
    if audit:
        findings = [(name, _as_audit(f)) for name, f in findings]
    edits = sorted({e for _, f in findings for e in f.edits})
    needs = {n for _, f in findings for n in f.needs}
    occurrences = [_occurrence(name, f, source, edits) for name, f in findings]
    occurrences.sort(key=lambda o: (o.line, o.column, o.rule))
    data = None
    if edits:
        data = source.encode(apply(source.data, edits + header(source, needs)))
    return Ported(source.path, occurrences, data)


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


def _as_audit(finding: Finding) -> Finding:
    if finding.verdict != "rewritten":
        return finding
    return Finding(finding.node, "safe", "this chip's PyTorch device is 'cuda'")


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


def own_methods(sources: Iterable[Source]) -> frozenset[str]:
    """Names like PyTorch's CUDA methods that classes of the project define themselves."""
    return frozenset(
        f.name
        for source in sources
        for c in ast.walk(source.tree)
        if isinstance(c, ast.ClassDef)
        for f in c.body
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) and f.name in ("cuda", "is_cuda")
    )
