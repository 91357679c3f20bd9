"""The header's lines where a file imports torch late, or can do without it: beside that import."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xinqiao.port.dialect import ACCELERATOR, MODULE
from xinqiao.port.guards import is_guarded
from xinqiao.port.header import LINES, header
from xinqiao.port.rule import Finding
from xinqiao.port.source import Edit, Source


@dataclass
class _Imports:
    """A file's `import torch`: those that its module runs, and all by the node that holds them."""

    tops: list[ast.Import] = field(default_factory=list)
    held: defaultdict[ast.AST, list[ast.Import]] = field(default_factory=lambda: defaultdict(list))


def headers(source: Source, findings: Iterable[Finding]) -> list[Edit]:
    """Insertions that define what the findings' edits use."""
    needs: dict[ast.Import | None, set[str]] = defaultdict(set)
    first = len(source.data)
    imports = _imports(source) if source.target.style == "agnostic" else _Imports()
    for finding in findings:
        if not finding.needs:
            continue
        host = _late_import(finding.node, imports, source) if imports.held else None
        needs[host].update(finding.needs)
        if host is None or _at_top(host, source):
            first = min([first, *(e.start for e in finding.edits)])
    edits = header(source, needs.pop(None), first) if None in needs else []
    stored = _stored(source) if needs else {}
    for host, names in needs.items():
        assert host is not None
        edits += _beside(host, names, stored.get(source.scopes.scope(host), set()), source)
    return edits


def _imports(source: Source) -> _Imports:
    found = _Imports()
    for node in source.nodes(ast.Import):
        if any(a.name == "torch" and not a.asname for a in node.names):
            found.held[source.parents[node]].append(node)
            if _at_top(node, source):
                found.tops.append(node)
    is_known = not found.tops and "torch" in source.scopes.names_at_top().values()
    return _Imports() if is_known else found


def _stored(source: Source) -> dict[ast.AST, set[str]]:
    """The names that every scope assigns."""
    found: defaultdict[ast.AST, set[str]] = defaultdict(set)
    for node in source.nodes(ast.Name):
        if isinstance(node.ctx, ast.Store):
            found[source.scopes.scope(node)].add(node.id)
    return found


def _late_import(node: ast.AST, imports: _Imports, source: Source) -> ast.Import | None:
    """The `import torch` that must have run before the node: inside its function, or in a `try` at the top."""
    if imports.tops:
        host = imports.tops[0]
        alone = len(imports.tops) == 1 and _goes_on_without(host, source, node) and _has_its_line(host, source)
        return host if alone else None
    holders = [h for h in _around(node, source) if h in imports.held and not isinstance(h, ast.Module | ast.ClassDef)]
    inside = (i for holder in reversed(holders) for i in imports.held[holder])  # the outermost comes first
    return next((i for i in inside if source.end(i) <= source.start(node) and _has_its_line(i, source)), None)


def _around(node: ast.AST, source: Source) -> list[ast.AST]:
    found = []
    parent = source.parent(node)
    while parent is not None:
        found.append(parent)
        parent = source.parent(parent)
    return found


def _at_top(node: ast.Import, source: Source) -> bool:
    return isinstance(source.scopes.scope(node), ast.Module)


def _goes_on_without(node: ast.Import, source: Source, use: ast.AST) -> bool:
    holder = source.parent(node)
    alone = isinstance(holder, ast.Try) and node in holder.body and isinstance(source.parent(holder), ast.Module)
    return alone and is_guarded(node, source) and source.end(node) <= source.start(use)


def _has_its_line(node: ast.Import, source: Source) -> bool:
    begin, after = source.line_start(node.lineno), source.line_start((node.end_lineno or 0) + 1)
    rest = source.data[source.end(node) : after].strip()
    return not source.data[begin : source.start(node)].strip() and (not rest or rest.startswith(b"#"))


def _beside(host: ast.Import, names: set[str], there: set[str], source: Source) -> Iterator[Edit]:
    lines = [
        LINES[name].format(name=name, torch="torch", accelerator=ACCELERATOR)
        for name in (ACCELERATOR, MODULE)
        if name in names and name not in there
    ]
    yield from _after(host, lines, source)
    holder = source.parent(host)
    if lines and isinstance(holder, ast.Try) and ACCELERATOR in names - there:
        for handler in holder.handlers:  # as before the port, where torch is missing
            yield from _before(handler.body[0], f'{ACCELERATOR} = "cuda"', source)


def _after(node: ast.stmt, lines: list[str], source: Source) -> Iterator[Edit]:
    margin = source.data[source.line_start(node.lineno) : source.start(node)].decode()
    at = source.line_start((node.end_lineno or 0) + 1)
    if lines:
        start = "" if source.data[at - 1 : at] in (b"\n", b"\r") else source.newline
        yield Edit(at, at, start + "".join(f"{margin}{line}{source.newline}" for line in lines))


def _before(node: ast.stmt, line: str, source: Source) -> Iterator[Edit]:
    begin, at = source.line_start(node.lineno), source.start(node)
    margin = source.data[begin:at].decode()
    if not margin.strip():
        yield Edit(at, at, f"{line}{source.newline}{margin}")
    else:  # `except ImportError: torch = None`
        yield Edit(at, at, f"{line}; ")
