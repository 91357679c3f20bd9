"""One Python file as bytes, tree, parents and scopes. Nothing is imported or executed."""

import ast
import io
import re
import tokenize
from dataclasses import dataclass, field
from functools import cached_property

from xinqiao.port.facts import Facts
from xinqiao.port.scopes import Scopes
from xinqiao.port.target import Target

_NEWLINE = re.compile(rb"\r\n|\r|\n")
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, order=True)
class Edit:
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
    packages: frozenset[str] = frozenset()  # folders of the project with an __init__.py, '' for the project itself
    project: Facts = field(default_factory=Facts)  # what the project's files know of each other
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in ast.walk(self.tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node

    @cached_property
    def scopes(self) -> Scopes:
        return Scopes(self.tree, self.parents)

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(m.end() for m in _NEWLINE.finditer(self.data))]

    def start(self, node: ast.AST) -> int:
        """Byte offset where a node begins."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        return self._lines[line - 1] + int(column)

    def end(self, node: ast.AST) -> int:
        """Byte offset just after a node."""
        line, column = getattr(node, "end_lineno", 1), getattr(node, "end_col_offset", 0)
        return self._lines[line - 1] + int(column)

    def text(self, node: ast.AST) -> str:
        """The node as it is written."""
        return self.data[self.start(node) : self.end(node)].decode()

    def position(self, offset: int) -> tuple[int, int]:
        """(line, column) from 1 of a byte offset; columns count characters."""
        low = max(i for i, begin in enumerate(self._lines) if begin <= offset)
        return low + 1, len(self.data[self._lines[low] : offset].decode()) + 1

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self.parents.get(node)

    def resolve(self, node: ast.AST) -> str | None:
        """The dotted name that an expression stands for ('torch.cuda.Event'), or None where it is the user's own."""
        return self.scopes.resolve(node)

    @cached_property
    def newline(self) -> str:
        found = _NEWLINE.search(self.data)
        return found[0].decode() if found else "\n"

    def encode(self, data: bytes) -> bytes:
        """Back to the file's own encoding and byte order mark."""
        plain = data if self.encoding in ("utf-8", "utf-8-sig") else data.decode().encode(self.encoding)
        return BOM + plain if self.marked else plain


def parse(path: str, raw: bytes, target: Target) -> Source:
    """Read a file. SyntaxError, UnicodeDecodeError or ValueError where it is not Python 3."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
    marked = raw.startswith(BOM)
    text = raw[len(BOM) :].decode("utf-8") if marked else raw.decode(encoding)
    data = text.encode()
    return Source(path, target, data, ast.parse(data), encoding, marked)


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
