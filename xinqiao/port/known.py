"""What is known of a project's files together, as the rules ask for it."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

FIXED = frozenset({"key", "file", "flag", "pattern", "type"})  # uses that depend on how a string is spelt
NOTHING: frozenset[str] = frozenset()


def slot_of(path: str, node: ast.AST) -> str:
    """The name of an expression's value in the flow of the project."""
    end = f"{getattr(node, 'end_lineno', 0)}.{getattr(node, 'end_col_offset', 0)}"
    return f"{path}:{getattr(node, 'lineno', 0)}.{getattr(node, 'col_offset', 0)}-{end}:"


@dataclass(frozen=True)
class Modules:
    """The project's modules: paths by every dotted name that may import them, and what each has imported itself."""

    paths: Mapping[str, str] = field(default_factory=dict)
    imported: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # path → name → dotted name
    stars: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # path → modules imported whole

    def find(self, dotted: str) -> tuple[str, str] | None:
        """(path, rest) of a dotted name that begins with a module of the project."""
        head, rest = dotted, ""
        while head:
            if head in self.paths:
                return self.paths[head], rest
            head, _, last = head.rpartition(".")
            rest = f"{last}.{rest}" if rest else last
        return None

    def real(self, dotted: str, depth: int = 0) -> str:
        """A name imported from the project's own modules → the name that those imported it by."""
        found = self.find(dotted) if depth < 8 else None
        if found is None or not found[1]:
            return dotted
        path, (first, _, rest) = found[0], found[1].partition(".")
        there = self.imported.get(path, {}).get(first)
        if there is not None:
            return self.real(f"{there}.{rest}" if rest else there, depth + 1)
        for star in self.stars.get(path, ()):
            name = f"{star}.{found[1]}"
            if (through := self.real(name, depth + 1)) != name:
                return through
        return dotted


@dataclass(frozen=True)
class Known:
    """The answers for every interesting expression of the project.

    uses      what the value of an expression reaches: 'device', 'backend', 'key', 'file', 'message', ...
              'table' for a dictionary: values are looked up in it by a device's name
    holds     what an expression that was asked about may be: 'device', 'none', 'torch', 'class' + its methods
    methods   class slot → names among PyTorch's CUDA ones that the class or a base of it defines
    """

    uses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    holds: Mapping[str, frozenset[str]] = field(default_factory=dict)
    methods: Mapping[str, frozenset[str]] = field(default_factory=dict)
    modules: Modules = field(default_factory=Modules)
    scripts: bool = False  # something of it may be compiled by torch.jit.script
    complete: bool = False  # False: nobody has looked yet

    def real(self, dotted: str) -> str:
        return self.modules.real(dotted)

    @property
    def own_methods(self) -> frozenset[str]:
        """Names among PyTorch's CUDA ones that some class of the project defines."""
        return frozenset(name for names in self.methods.values() for name in names)

    def used_as(self, path: str, node: ast.AST) -> frozenset[str]:
        return self.uses.get(slot_of(path, node), NOTHING)

    def may_be(self, path: str, node: ast.AST) -> frozenset[str]:
        return self.holds.get(slot_of(path, node) + "?:", NOTHING)
