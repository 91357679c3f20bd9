"""Notebooks are ported as the program that their cells make together.

What it does: the code cells of a Python notebook go through the Python rules as one program, so that names defined in
one cell are known in the next and the header stands once, after the imports. `!` lines, `%pip`, `%env` and `%%bash`
cells are treated as the rule shell treats commands. Only the text of code cells changes, inside its JSON strings;
outputs, Markdown, metadata and layout stay byte for byte. Cells of other languages need you where they name CUDA.
Why: a notebook holds the same CUDA-bound code as a module.
Unsafe when: cells are run in another order than they stand in.
Source: nbformat 4 (jupyter/nbformat, nbformat.v4.schema.json); IPython's documentation of magics.

    "x = torch.zeros(2).cuda()"            →    "x = torch.zeros(2).to(ACCELERATOR)"
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from xinqiao.port.engine import Ported, port_source
from xinqiao.port.files import variables
from xinqiao.port.files.advice import ASK, SAME_DEVICE, Advice, needs_you
from xinqiao.port.files.cells import Cell, cells_of, masked
from xinqiao.port.files.commands import Site, places
from xinqiao.port.files.text import NotReadable, Place, Text
from xinqiao.port.source import Edit, parse
from xinqiao.port.target import Target
from xinqiao.port.words import is_bound, is_worth_parsing
from xinqiao.record.schema import Verdict

_COOKIE = re.compile(r"coding(?=[:=])")
_ENV = re.compile(r"%(?:env|set_env)[ \t]+(\w+)(?:[ \t]*=[ \t]*|[ \t]+)(\S.*)")
_NOT_PYTHON = "cell {number} is not Python 3: it is left as it is"


@dataclass
class Program:
    """The Python of all cells, one after the other, a line end after each."""

    text: str = ""
    pieces: list[tuple[int, Cell, int]] = field(default_factory=list)  # where it begins; its cell; where in the cell

    def add(self, cell: Cell, begin: int, code: str) -> None:
        self.pieces.append((len(self.text), cell, begin))
        self.text += code + "\n"

    def cell_at(self, offset: int) -> tuple[Cell, int]:
        """The cell that holds a character, and which of its characters it is."""
        i = bisect_right(self.pieces, offset, key=lambda p: p[0]) - 1
        start, cell, begin = self.pieces[max(i, 0)]
        return cell, min(offset - start + begin, len(cell.text))

    def edits(self, edit: Edit) -> Iterator[Edit]:
        """An edit of the program as edits of the JSON. A header between two cells goes to the end of the first."""
        i = bisect_right(self.pieces, edit.start, key=lambda p: p[0]) - 1
        if i > 0 and edit.start == edit.end == self.pieces[i][0] and edit.text[:1] in "\r\n":
            cell = self.pieces[i - 1][1]
            yield from cell.edit(Edit(len(cell.text), len(cell.text), "\n" + edit.text.rstrip("\r\n")))
            return
        cell, start = self.cell_at(edit.start)
        yield from cell.edit(Edit(start, start + edit.end - edit.start, edit.text))


def find(text: Text) -> Iterator[Place]:
    """NotReadable where it is not a notebook."""
    language, cells = cells_of(text)
    program = Program()
    for cell in cells:
        kind, begin = cell.kind if language == "python" else ("other", 0)
        code = masked(cell.text[begin:]) if kind == "python" else None
        if code is not None:
            program.add(cell, begin, code[0])
            for start, end in code[1]:
                yield from _magic(cell, begin + start, begin + end, cells, text.target)
        elif kind == "shell":
            yield from _shell(cell, begin, len(cell.text), text.target)
        elif is_bound(cell.text):
            yield from _left(cell, kind, text)
    yield from _python(program, text)


def _python(program: Program, text: Text) -> Iterator[Place]:
    if not is_worth_parsing(program.text.encode()):
        return
    hidden = program.text.splitlines(keepends=True)
    hidden[:2] = [_COOKIE.sub("c0ding", line) if line.lstrip().startswith("#") else line for line in hidden[:2]]
    code = "".join(hidden).replace("\ufeff", " ")
    try:
        ported = port_source(parse(text.path, code.encode(), text.target))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotReadable(f"its cells together are not Python 3 ({error})") from error
    whole = Text(text.path, text.target, program.text, "utf-8", b"")
    at = _characters(code, ported)
    edits = [e for edit in ported.edits for e in program.edits(Edit(at[edit.start], at[edit.end], edit.text))]
    for o in sorted(ported.occurrences, key=lambda o: o.verdict != "rewritten"):
        cell, start = program.cell_at(whole.offset(o.line, o.column))
        length = whole.offset(o.end_line, o.end_column) - whole.offset(o.line, o.column)
        begin, end = cell.span(start, start + length)
        yield Place(begin, end, o.verdict, f"{o.reason} (cell {cell.number})", tuple(edits), o.rule)
        edits = []  # one place brings them all, the header too


def _characters(code: str, ported: Ported) -> dict[int, int]:
    """Byte → character, for every offset that an edit names."""
    table: dict[int, int] = {}
    data, before, count = code.encode(), 0, 0
    for offset in sorted({o for e in ported.edits for o in (e.start, e.end)}):
        count += len(data[before:offset].decode())
        before = offset
        table[offset] = count
    return table


def _magic(cell: Cell, start: int, end: int, cells: list[Cell], target: Target) -> Iterator[Place]:
    """One line of IPython's own."""
    line = cell.text[start:end]
    if found := _ENV.match(line):
        yield from _env(cell, start, found, cells, target)
    elif line.startswith(("!", "%pip", "%conda", "%sx", "%system", "%mamba")):
        begin = start + len(re.match(r"!+|%(?:sx|system)\b|%", line)[0])  # type: ignore[index]
        yield from _shell(cell, begin, end, target)
    elif is_bound(line):
        yield _mapped(cell, Place(start, end, *_rest(target)))


def _rest(target: Target) -> tuple[Verdict, str]:
    advice = SAME_DEVICE if target.audit else needs_you(ASK)
    return advice.verdict, advice.reason


def _env(cell: Cell, start: int, found: re.Match[str], cells: list[Cell], target: Target) -> Iterator[Place]:
    name, value = found[1], found[2]
    if not variables.is_cudas(name):
        return
    advice = variables.advice(name, target)
    end = start + len(found[0].rstrip())
    edits: tuple[Edit, ...] = ()
    if advice.verdict == "rewritten" and target.style == "vendor":
        at = start + found.start(1)
        edits = (Edit(at, at + len(name), advice.text),)
    elif advice.verdict == "rewritten" and any(re.search(rf"%(set_)?env\s+{advice.text}\b", c.text) for c in cells):
        advice = Advice("safe", f"{advice.text} is set beside it")
    elif advice.verdict == "rewritten":
        edits = (Edit(end, end, f"\n%env {advice.text}={value.rstrip()}"),)
    yield _mapped(cell, Place(start, end, advice.verdict, advice.reason, edits))


def _shell(cell: Cell, start: int, end: int, target: Target) -> Iterator[Place]:
    try:
        for place in places(Site(cell.text, target, forbidden="{}"), start, end):
            yield _mapped(cell, place)
    except NotReadable:
        if is_bound(cell.text[start:end]):
            yield _mapped(cell, Place(start, end, *_rest(target)))


def _left(cell: Cell, kind: str, text: Text) -> Iterator[Place]:
    if kind == "python":
        yield _mapped(cell, Place(0, len(cell.text), "needs-you", _NOT_PYTHON.format(number=cell.number)))
        return
    at = 0
    for line in cell.text.splitlines(keepends=True):
        if is_bound(line) and not line.lstrip().startswith(("#", "//")):
            yield _mapped(cell, Place(at, at + len(line.rstrip("\r\n")), *_rest(text.target)))
        at += len(line)


def _mapped(cell: Cell, place: Place) -> Place:
    """A place in a cell's text as one in the JSON."""
    begin, end = cell.span(place.start, place.end)
    edits = tuple(e for edit in place.edits for e in cell.edit(edit))
    return Place(begin, end, place.verdict, f"{place.reason} (cell {cell.number})", edits)
