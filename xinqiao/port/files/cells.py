"""A notebook's code cells: their text, and where each of its characters stands in the JSON."""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from xinqiao.port.files import read_json
from xinqiao.port.files.scalars import Scalar
from xinqiao.port.files.text import NotReadable, Text
from xinqiao.port.source import Edit

_CHARACTER = re.compile(r"\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL)
_PYTHON_MAGICS = {"time", "timeit", "capture", "prun", "memit", "mprun", "lprun", "heat", "python", "python3", "debug"}
_SHELL_MAGICS = {"bash", "sh", "shell", "system", "sx", "script"}
_CELL_MAGIC = re.compile(r"\s*%%(\w+)[^\n]*(\n|$)")
_MAGIC = re.compile(r"^([ \t]*(?:[\w.,() \t\[\]]+=[ \t]*)?)([!%?][^\n]*|[^\n#'\"]*\?)$", re.MULTILINE)
Kind = Literal["python", "shell", "other"]


@dataclass
class Cell:
    """starts, ends: of each character, in the JSON; tokens: the range of characters of each JSON string."""

    number: int  # from 1, all cells counted
    text: str = ""
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    tokens: list[tuple[int, int]] = field(default_factory=list)

    def add(self, token: Scalar, raw: str) -> None:
        begin = len(self.text)
        for found in _CHARACTER.finditer(raw, token.start, token.end):
            self.starts.append(found.start())
            self.ends.append(found.end())
        self.text += _without_surrogates(token.value)
        if len(self.text) != len(self.starts):
            raise NotReadable(f"cell {self.number} holds a string that cannot be read")
        self.tokens.append((begin, len(self.text)))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where characters [start, end) stand in the JSON."""
        if start == end:
            at = self.ends[start - 1] if start else self.starts[0]
            return at, at
        return self.starts[start], self.ends[end - 1]

    def edit(self, edit: Edit) -> Iterator[Edit]:
        """The same edit inside the JSON's strings: the first string that it touches gets the new text."""
        text = json.dumps(edit.text)[1:-1]
        if edit.start == edit.end:
            yield Edit(*self.span(edit.start, edit.end), text)
            return
        for begin, end in self.tokens:
            first, last = max(begin, edit.start), min(end, edit.end)
            if first < last:
                yield Edit(*self.span(first, last), text)
                text = ""

    @property
    def kind(self) -> tuple[Kind, int]:
        """What the cell holds, and where that begins, past a line such as `%%bash`."""
        found = _CELL_MAGIC.match(self.text)
        if found is None:
            return "python", 0
        if found[1] in _PYTHON_MAGICS:
            return "python", found.end()
        return ("shell", found.end()) if found[1] in _SHELL_MAGICS else ("other", found.end())


def _without_surrogates(value: str) -> str:
    """A lone half of a surrogate pair is no text: it cannot be encoded."""
    return re.sub(r"[\ud800-\udfff]", "\ufffd", value)


def cells_of(text: Text) -> tuple[str, list[Cell]]:
    """The notebook's language and its code cells that hold text; NotReadable where it is not a notebook."""
    try:
        notebook = json.loads(text.text)
    except (ValueError, RecursionError) as error:
        raise NotReadable(f"not JSON ({str(error)[:80]})") from error
    found = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(found, list):
        raise NotReadable("not a notebook of format 4: it has no list of cells")
    scalars = read_json.scalars(text.text)
    tokens = iter([s for s in scalars if s.keys == ("cells", "source") and not s.is_key])
    cells = []
    for number, value in enumerate(found, 1):
        source = value.get("source", []) if isinstance(value, dict) else []
        cell = Cell(number)
        for part in source if isinstance(source, list) else [source]:
            token = next(tokens, None)
            if token is None or token.value != part or token.quote != '"':
                raise NotReadable(f"cell {number} has no source of strings")
            if value.get("cell_type") == "code":
                cell.add(token, text.text)
        if cell.text:
            cells.append(cell)
    return _language(notebook), cells


def _language(notebook: dict[str, object]) -> str:
    metadata = notebook.get("metadata")
    for key, name in (("kernelspec", "language"), ("language_info", "name")):
        part = metadata.get(key) if isinstance(metadata, dict) else None
        if isinstance(part, dict) and isinstance(part.get(name), str):
            return str(part[name])
    return "python"


def masked(code: str) -> tuple[str, list[tuple[int, int]]] | None:
    """Python of the same length, and where IPython's own lines were; None where it is not Python 3 even so."""
    if _parses(code):
        return code, []
    spans: list[tuple[int, int]] = []
    out, at = [], 0
    for found in _MAGIC.finditer(code):
        if found.start(2) < at:
            continue
        start, end = found.start(2), found.end(2)
        while code[start:end].endswith("\\") and end < len(code):
            following = code.find("\n", end + 1)
            end = len(code) if following < 0 else following
        spans.append((start, end))
        out += [code[at:start], _constant(code[start:end])]
        at = end
    program = "".join([*out, code[at:]])
    return (program, spans) if _parses(program) else None


def _constant(text: str) -> str:
    """A constant as long as `text`, over as many lines, so that nothing can be inserted between them."""
    written = "".join(c if c == "\n" else " " for c in text)
    last = len(written.rstrip("\n")) - 1
    if "\n" not in written[:last]:
        return "0" + written[1:]
    return f"(0{written[2:last]}){written[last + 1 :]}"


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
