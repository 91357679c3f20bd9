"""What a rule is: a function that looks at one syntax node and says what it found."""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from xinqiao.port.additions import Added
from xinqiao.port.source import Edit, Source
from xinqiao.record.schema import Verdict


class Finding(NamedTuple):
    """One CUDA-bound place.

    edits   what to write instead
    needs   names of the header that the edits use
    adds    files that come into the project with it
    risky   the rewrite is right in most programs, not in all: it is made only when asked for
    """

    node: ast.AST
    verdict: Verdict
    reason: str
    edits: tuple[Edit, ...] = ()
    needs: tuple[str, ...] = ()
    adds: tuple[Added, ...] = ()
    risky: bool = False


Rule = Callable[[ast.AST, Source], Iterator[Finding]]


@dataclass(frozen=True)
class Rules:
    """The rules of one kind of node, in order: all, and those that also look at a node without a dotted name."""

    all: list[tuple[str, Rule]] = field(default_factory=list)
    nameless: list[tuple[str, Rule]] = field(default_factory=list)

    def of(self, node: ast.AST, source: Source) -> list[tuple[str, Rule]]:
        """Those that may find something: most of a program's names are its own, and most rules have no use for them."""
        if len(self.nameless) == len(self.all) or source.resolve(node) is not None:
            return self.all
        is_call_of_a_name = isinstance(node, ast.Call) and source.resolve(node.func) is not None
        return self.all if is_call_of_a_name else self.nameless


_registered: dict[type[ast.AST], Rules] = defaultdict(Rules)


def rule(*kinds: type[ast.AST], named: bool = False) -> Callable[[Rule], Rule]:
    """Register a function for nodes of these kinds. Its module's name is the rule's name.

    named   it finds something only where the node, or what it calls, has a dotted name
    """

    def register(function: Rule) -> Rule:
        entry = (function.__module__.rpartition(".")[2].replace("_", "-"), function)
        for kind in kinds:
            _registered[kind].all.append(entry)
            if not named:
                _registered[kind].nameless.append(entry)
        return function

    return register


@cache
def rules() -> dict[type[ast.AST], Rules]:
    """All rules by node kind, found by a scan of the folder `rules`, in the order of their file names."""
    package = import_module("xinqiao.port.rules")
    for module in sorted(m.name for m in iter_modules(package.__path__)):
        import_module(f"{package.__name__}.{module}")
    return dict(_registered)


def replace(source: Source, node: ast.AST, text: str) -> Edit:
    """Write `text` instead of the whole node, apart from a word that touches it ('return"cuda"')."""
    start, end = source.start(node), source.end(node)
    before, after = source.data[start - 1 : start], source.data[end : end + 1]
    left = " " if start and _is_word(before) and _is_word(text[:1].encode()) else ""
    right = " " if _is_word(after) and _is_word(text[-1:].encode()) else ""
    return Edit(start, end, f"{left}{text}{right}")


def _is_word(text: bytes) -> bool:
    return text.isalnum() or text == b"_"
