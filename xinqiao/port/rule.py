"""What a rule is: a function that looks at one syntax node and says what it found."""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from xinqiao.port.additions import Added
from xinqiao.port.source import Edit, Source
from xinqiao.record.schema import Verdict


@dataclass(frozen=True)
class Finding:
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
_registered: dict[type[ast.AST], list[tuple[str, Rule]]] = defaultdict(list)


def rule(*kinds: type[ast.AST]) -> Callable[[Rule], Rule]:
    """Register a function for nodes of these kinds. Its module's name is the rule's name."""

    def register(function: Rule) -> Rule:
        for kind in kinds:
            _registered[kind].append((function.__module__.rpartition(".")[2].replace("_", "-"), function))
        return function

    return register


@cache
def rules() -> dict[type[ast.AST], list[tuple[str, Rule]]]:
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
