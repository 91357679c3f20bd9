"""One Python file as bytes, tree, parents and scopes. Nothing is imported or executed."""

import ast
import io
import re
import tokenize
import warnings
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeVar

from xinqiao.port.known import Known
from xinqiao.port.scopes import Scopes
from xinqiao.port.surroundings import Surroundings
from xinqiao.port.target import Target

Node = TypeVar("Node", bound=ast.AST)
_NEWLINE = re.compile(rb"\r\n|\r|\n")
_NO_NODES = {"ctx", "op", "ops", "id", "attr", "type_comment", "kind", "conversion", "name", "asname", "module", "n"}
_FIELDS = {
    kind: tuple(name for name in kind._fields if name not in _NO_NODES)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST)
}
BOM = b"\xef\xbb\xbf"


class Edit(NamedTuple):
    """Replace bytes [start, end) of the file's UTF-8 form by `text`; an insertion where they are equal."""

    start: int
    end: int
    text: str


@dataclass
class Source:
    """A parsed file. `data` is its text as UTF-8 without a byte order mark."""

    path: str  # relative to the project
    target: Target
    data: bytes
    tree: ast.Module
    encoding: str
    marked: bool  # had a byte order mark
    around: Surroundings = field(default_factory=Surroundings)
    project: Known = field(default_factory=Known)  # what the project's files know of each other
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    kinds: dict[type[ast.AST], list[ast.AST]] = field(default_factory=lambda: defaultdict(list))

    _resolved: dict[ast.AST, str | None] = field(default_factory=dict)
    _last: tuple[int, int] = (0, 1)  # the offset and column asked for last

    def __post_init__(self) -> None:
        """The one traversal: what follows asks `parents` and `kinds`."""
        if self.parents:
            return
        reached: list[ast.AST] = [self.tree]
        for node in reached:
            self.kinds[type(node)].append(node)
            for name in _FIELDS[type(node)]:
                value = getattr(node, name, None)
                if isinstance(value, ast.AST):
                    self.parents[value] = node
                    reached.append(value)
                elif isinstance(value, list):
                    for child in value:
                        if isinstance(child, ast.AST):
                            self.parents[child] = node
                            reached.append(child)

    def know(self, project: Known) -> None:
        """From now on names are followed into the project's other files."""
        self.project = project
        self._resolved.clear()

    def nodes(self, *kinds: type[Node]) -> Iterator[Node]:
        """All nodes of exactly these kinds."""
        for kind in kinds:
            yield from self.kinds.get(kind, ())  # type: ignore[misc]

    @cached_property
    def scopes(self) -> Scopes:
        return Scopes(self.path, self.tree, self.parents, self.kinds)

    @cached_property
    def keys(self) -> frozenset[ast.AST]:
        """What stands as a key in a dictionary; a large one is not looked through for each of its strings."""
        return frozenset(key for node in self.nodes(ast.Dict) for key in node.keys if key is not None)

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(m.end() for m in _NEWLINE.finditer(self.data))]

    def line_start(self, line: int) -> int:
        """Byte offset of a line, counted from 1; the end of the file past its last line."""
        return self._lines[line - 1] if line <= len(self._lines) else len(self.data)

    def start(self, node: ast.AST) -> int:
        """Byte offset where a node begins."""
        column: int = getattr(node, "col_offset", 0)
        return self._lines[getattr(node, "lineno", 1) - 1] + column

    def end(self, node: ast.AST) -> int:
        """Byte offset just after a node."""
        column: int = getattr(node, "end_col_offset", 0)
        return self._lines[getattr(node, "end_lineno", 1) - 1] + column

    def text(self, node: ast.AST) -> str:
        """The node as it is written."""
        return self.data[self.start(node) : self.end(node)].decode()

    def position(self, offset: int) -> tuple[int, int]:
        """(line, column) from 1 of a byte offset; columns count characters."""
        line = bisect_right(self._lines, offset)
        begin, column = self._lines[line - 1], 1
        if begin <= self._last[0] <= offset:  # a long line is not read again for each of its places
            begin, column = self._last
        column += len(self.data[begin:offset].decode())
        self._last = (offset, column)
        return line, column

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self.parents.get(node)

    def resolve(self, node: ast.AST) -> str | None:
        """The dotted name that an expression stands for ('torch.cuda.Event'), or None where it is the user's own.

        Imports from the project's own modules are followed to what those import.
        """
        if node not in self._resolved:
            name = self.scopes.resolve(node)
            self._resolved[node] = self._through_star(node) if name is None else self.project.real(name)
        return self._resolved[node]

    def _through_star(self, node: ast.AST) -> str | None:
        """What an unbound name may be where the file says `from utils import *`."""
        if not self.scopes.stars:
            return None
        rest, base = "", node
        while isinstance(base, ast.Attribute):
            rest, base = f".{base.attr}{rest}", base.value
        if not isinstance(base, ast.Name) or self.scopes.owner(base) is not None:
            return None
        for module in self.scopes.stars:
            name = f"{module}.{base.id}{rest}"
            if (found := self.project.real(name)) != name:
                return found
        return None

    @cached_property
    def newline(self) -> str:
        found = _NEWLINE.search(self.data)
        return found[0].decode() if found else "\n"

    def encode(self, data: bytes) -> bytes:
        """Back to the file's own encoding and byte order mark."""
        plain = data if self.encoding in ("utf-8", "utf-8-sig") else data.decode().encode(self.encoding)
        return BOM + plain if self.marked else plain


def tree_of(text: str) -> ast.Module:
    """The syntax tree; Python's warnings about the text are its author's, not ours to print."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def parse(path: str, raw: bytes, target: Target) -> Source:
    """Read a file. SyntaxError, UnicodeDecodeError, ValueError or RecursionError where it is not Python 3."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
    marked = raw.startswith(BOM)
    text = raw[len(BOM) :].decode("utf-8") if marked else raw.decode(encoding)
    data = text.encode()
    return Source(path, target, data, tree_of(text), encoding, marked)


def apply(data: bytes, edits: list[Edit], begin: int = 0, end: int | None = None) -> bytes:
    """`data[begin:end]` with the edits that lie inside."""
    end = len(data) if end is None else end
    out, at = [], begin
    for edit in sorted(edits):
        if edit.start < at or edit.end > end:
            continue
        out += [data[at : edit.start], edit.text.encode()]
        at = edit.end
    return b"".join([*out, data[at:end]])
