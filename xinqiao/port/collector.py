"""Notes of one file: which slots flow into which, and what they are used for."""

import ast
from collections.abc import Iterable

from xinqiao.port.facts import Facts
from xinqiao.port.source import Source
from xinqiao.port.values import NONE, Values


class Collector:
    """Writes a file's facts down."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.values = Values(source)
        self.facts = Facts(source.path)

    def flow(self, value: ast.AST | None, targets: Iterable[str]) -> None:
        if value is None:
            return
        whole, inside = self.values.of(value), self.values.inside(value)
        for target in targets:
            self.facts.edges += [(slot, target) for slot in whole]
            self.facts.parts += [(slot, target) for slot in inside]

    def use(self, value: ast.AST, kind: str, *, inside: bool = True) -> None:
        self.facts.uses += [(slot, kind) for slot in self.values.of(value)]
        if inside:
            self.facts.uses += [(slot, kind) for slot in self.values.inside(value)]

    def targets(self, target: ast.AST) -> list[str]:
        """The slots that an assignment writes."""
        if isinstance(target, ast.Name):
            return self.values.of(target)
        if isinstance(target, ast.Attribute):
            return [f".{target.attr}"]
        if isinstance(target, ast.Subscript):
            named = isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str)
            return self.values.of(target) if named else self.values.of(target.value)
        if isinstance(target, ast.Starred):
            return self.targets(target.value)
        return [s for t in target.elts for s in self.targets(t)] if isinstance(target, ast.Tuple | ast.List) else []

    def assign(self, target: ast.AST, value: ast.AST | None) -> None:
        both = isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List)
        if both and len(target.elts) == len(value.elts):  # type: ignore[attr-defined,union-attr]
            for t, v in zip(target.elts, value.elts, strict=True):  # type: ignore[attr-defined,union-attr]
                self.assign(t, v)
        else:
            self.flow(value, self.targets(target))

    def look_up(self, table: ast.AST, key: ast.AST) -> None:
        there = self.values.of(key)
        self.facts.lookups += [(a, b) for a in self.values.of(table) for b in there]

    def compare(self, one: ast.AST, other: ast.AST) -> None:
        there = self.values.of(other)
        self.facts.compared += [(a, b) for a in self.values.of(one) for b in there if NONE not in (a, b)]
