"""TOML's scalars, each with its place in the text."""

import re
import tomllib
from collections.abc import Iterator

from xinqiao.port.files.scalars import Scalar, Walk
from xinqiao.port.files.text import NotReadable

MAX_CHARACTERS = 1_000_000
_TOKEN = re.compile(
    r'(?P<space>[ \t]+|#[^\n]*)|(?P<newline>\r?\n)|(?P<string>"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}'
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\')|(?P<mark>[\[\]{}=,.])|(?P<word>[^\s\[\]{}=,#"\'.]+)',
    re.DOTALL,
)
_HEADER = re.compile(r"[ \t]*(\[\[?)([^\n]*?)\]\]?[ \t]*(?:#[^\n]*)?(?=\r?\n|$)")
_KEY_PART = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|([\w-]+)")
_VALUE = re.compile(r"[^\s,\]}#]+(?: [\d:.+Z-]+)?")  # numbers, dates, booleans


def scalars(text: str) -> Iterator[Scalar]:
    """NotReadable where it is not TOML, too long, or nested too deep."""
    if len(text) > MAX_CHARACTERS:
        raise NotReadable(f"longer than {MAX_CHARACTERS:,} characters")
    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise NotReadable(f"not TOML ({error})") from error
    yield from _Reader(text).read()


class _Reader:
    """Goes through text that tomllib has accepted."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.table: tuple[str, ...] = ()
        self.walk = Walk()

    def read(self) -> Iterator[Scalar]:
        key: list[str] = []
        at, key_start = 0, 0
        while at < len(self.text):
            header = _HEADER.match(self.text, at) if not self.walk.frames and not key else None
            if header:
                self.table = tuple(_parts(header[2]))
                at = header.end()
                continue
            token = _TOKEN.match(self.text, at)
            if token is None:
                raise NotReadable(f"not TOML (character {at})")
            begin, at = at, token.end()
            if token["space"] or token["newline"] or token[0] in ",.":
                continue
            if token[0] == "=":
                at, found = self._value(at, key, key_start)
                yield from found
                key = []
            elif self.walk.in_list and not key:
                at, found = self._value(begin, key, key_start)
                yield from found
            elif token[0] in "]}":
                self.walk.close()
            else:
                key_start = begin if not key else key_start
                key.extend(_parts(token[0]))

    def _value(self, at: int, key: list[str], key_start: int) -> tuple[int, list[Scalar]]:
        """Read one value, or enter a list or table, after blanks; answers where it ends."""
        while token := _TOKEN.match(self.text, at):
            if not (token["space"] or token["newline"]):
                break
            at = token.end()
        else:
            return len(self.text), []
        if token[0] in ("]", "}"):
            self.walk.close()
            return token.end(), []
        base = self.walk.frames[-1].keys if self.walk.frames else self.table
        if token[0] in ("[", "{"):
            self.walk.open("map" if token[0] == "{" else "list")
            self.walk.frames[-1].keys = (*base, *key)
            if self.walk.too_deep:
                raise NotReadable("nested too deep")
            return token.end(), []
        return self._scalar(at, token, (*base, *key), None if self.walk.in_list else key_start)

    def _scalar(
        self, at: int, token: re.Match[str], keys: tuple[str, ...], key_start: int | None
    ) -> tuple[int, list[Scalar]]:
        frame = self.walk.frames[-1] if self.walk.frames else None
        if token["string"]:
            quote = token[0][:3] if token[0][:3] in ('"""', "'''") else token[0][0]
            start, end, stop = at + len(quote), token.end() - len(quote), token.end()
        else:
            found = _VALUE.match(self.text, at)
            quote, start, end = "", at, found.end() if found else token.end()
            stop = end
        value = self.text[start:end]
        before = frame.before if frame and frame.kind == "list" else ""
        entry = (key_start, stop) if key_start is not None else None
        exact = quote in ("'", "") or (quote == '"' and "\\" not in value)
        if frame:
            frame.before = value
        return stop, [Scalar(keys, value, start, end, quote, exact, before, entry)]


def _parts(written: str) -> list[str]:
    return [a or b or c for a, b, c in _KEY_PART.findall(written)]
