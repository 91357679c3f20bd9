"""The scalars of YAML, JSON, TOML and INI files as one stream: the keys above each, and its place in the text."""

from dataclasses import dataclass
from typing import Literal

MAX_DEPTH = 200


@dataclass(frozen=True)
class Scalar:
    """One value.

    keys    above it, the outermost first; levels of lists are left out
    start   of what is written, without quotation marks; `end` likewise
    quote   '' for a plain one, '"', "'", or '|' for a block of lines
    exact   what is written is the value: no escapes, one line
    before  the string before it in a list, '' where there is none
    entry   where its key begins and where its value ends, with quotation marks; None in a list
    is_key  it is a key itself, whose value is a list or a table
    """

    keys: tuple[str, ...]
    value: str
    start: int
    end: int
    quote: str = ""
    exact: bool = True
    before: str = ""
    entry: tuple[int, int] | None = None
    is_key: bool = False


class Walk:
    """Where a reader is between the brackets of a file; `too_deep` after MAX_DEPTH of them."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def open(self, kind: Literal["map", "list"], key: str | None = None) -> None:
        """Enter a table or a list that stands under `key`, or under the key that waits."""
        keys = self.keys() if key is None else (*self.keys(), key)
        self.frames.append(Frame(kind, keys))

    def close(self) -> None:
        self.frames.pop()
        if self.frames:
            self.frames[-1].done("")

    def keys(self) -> tuple[str, ...]:
        """The keys above what comes next."""
        if not self.frames:
            return ()
        top = self.frames[-1]
        return (*top.keys, top.key) if top.key is not None else top.keys

    @property
    def too_deep(self) -> bool:
        return len(self.frames) > MAX_DEPTH

    @property
    def awaits_key(self) -> bool:
        return bool(self.frames) and self.frames[-1].kind == "map" and self.frames[-1].key is None

    @property
    def in_list(self) -> bool:
        return bool(self.frames) and self.frames[-1].kind == "list"


@dataclass
class Frame:
    kind: Literal["map", "list"]
    keys: tuple[str, ...]
    key: str | None = None
    key_start: int = 0
    key_end: int = 0
    before: str = ""

    def done(self, value: str) -> None:
        """A value has been read."""
        self.key, self.before = None, value
