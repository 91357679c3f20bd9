"""One file that is not Python: its text, its CUDA-bound places, and its bytes after the port."""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from xinqiao.port.engine import Ported
from xinqiao.port.source import BOM, Edit, apply
from xinqiao.port.target import Target
from xinqiao.record.schema import Occurrence, Verdict

_NEWLINE = re.compile(r"\r\n|\r|\n")
_SHOWN = 300  # characters of a place that an occurrence quotes
_MARKED = ((BOM, "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class NotReadable(ValueError):
    """The text is not what its name says; the message tells where."""


@dataclass(frozen=True)
class Place:
    """One CUDA-bound place: characters [start, end) of the text.

    edits   in characters; they may lie outside the place
    rule    '' is the rule of the file's kind
    """

    start: int
    end: int
    verdict: Verdict
    reason: str
    edits: tuple[Edit, ...] = ()
    rule: str = ""


@dataclass(frozen=True)
class Text:
    """A decoded file. What cannot be decoded as UTF-8 is read so that it is written back byte for byte."""

    path: str  # relative to the project
    target: Target
    text: str  # without a byte order mark
    encoding: str
    mark: bytes  # the byte order mark, or b""

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(m.end() for m in _NEWLINE.finditer(self.text))]

    def position(self, offset: int) -> tuple[int, int]:
        """(line, column) from 1 of a character."""
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def offset(self, line: int, column: int) -> int:
        """The character at a line and a column, both from 1."""
        return self._lines[line - 1] + column - 1

    def lines(self) -> list[tuple[int, str]]:
        """(where it begins, the line without its end) of every line."""
        ends = [*self._lines[1:], len(self.text)]
        return [(a, self.text[a:b].rstrip("\r\n")) for a, b in zip(self._lines, ends, strict=True)]

    @cached_property
    def newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"


def read(path: str, data: bytes, target: Target) -> Text:
    """Decode a file: by its byte order mark, as UTF-8, as GB 18030, or else byte by byte."""
    for mark, encoding in _MARKED:
        if data.startswith(mark) and _is_exact(data[len(mark) :], encoding):
            return Text(path, target, data[len(mark) :].decode(encoding), encoding, mark)
    encoding = next((e for e in ("utf-8", "gb18030") if _is_exact(data, e)), "latin-1")
    return Text(path, target, data.decode(encoding), encoding, b"")


def _is_exact(data: bytes, encoding: str) -> bool:
    try:
        return data.decode(encoding).encode(encoding) == data
    except UnicodeError:
        return False


def finish(text: Text, rule: str, found: Iterable[Place]) -> Ported:
    """The file after its places' edits. Of places that overlap, the first one counts."""
    places = _apart(found)
    if text.target.audit:
        places = [_kept(p) for p in places]
    at = _offsets(text.text, places)
    edits = sorted({Edit(at[e.start], at[e.end], e.text) for p in places for e in p.edits})
    data = text.text.encode() if places else b""
    occurrences = [_occurrence(text, p, data, edits, (rule, at[p.start], at[p.end])) for p in places]
    occurrences.sort(key=lambda o: (o.line, o.column, o.rule))
    if not edits:
        return Ported(text.path, occurrences)
    after = apply(data, edits)
    if text.encoding != "utf-8":
        after = after.decode().encode(text.encoding)
    return Ported(text.path, occurrences, text.mark + after, edits)


def _apart(found: Iterable[Place]) -> list[Place]:
    begins: list[int] = []
    places: list[Place] = []
    for place in found:
        i = bisect_right(begins, place.start)
        before = places[i - 1] if i else None
        after = places[i] if i < len(places) else None
        if (before and place.start < before.end) or (after and after.start < place.end):
            continue
        begins.insert(i, place.start)
        places.insert(i, place)
    return places


def _kept(place: Place) -> Place:
    if place.verdict != "rewritten":
        return place
    return Place(place.start, place.end, "safe", "this chip's PyTorch device is 'cuda'", (), place.rule)


def _offsets(text: str, places: list[Place]) -> dict[int, int]:
    """Character → byte of the UTF-8 form, for every offset that the places name."""
    wanted = {o for p in places for o in (p.start, p.end, *(x for e in p.edits for x in (e.start, e.end)))}
    table: dict[int, int] = {}
    before, size = 0, 0
    for offset in sorted(wanted):
        size += len(text[before:offset].encode())
        before = offset
        table[offset] = size
    return table


def _occurrence(text: Text, p: Place, data: bytes, edits: list[Edit], at: tuple[str, int, int]) -> Occurrence:
    rule, start, end = at
    line, column = text.position(p.start)
    end_line, end_column = text.position(p.end)
    inside = [e for e in edits if start <= e.start and e.end <= end] if p.verdict == "rewritten" else []
    return Occurrence(
        file=text.path,
        line=line,
        column=column,
        end_line=end_line,
        end_column=end_column,
        rule=p.rule or rule,
        verdict=p.verdict,
        before=text.text[p.start : p.end] if inside else text.text[p.start : p.end][:_SHOWN],
        after=apply(data, inside, start, end).decode() if p.verdict == "rewritten" else "",
        reason=p.reason,
    )
