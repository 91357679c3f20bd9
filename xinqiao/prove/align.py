"""Lay two sequences of keys side by side: equal runs, and the gaps between them."""

from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

WINDOW = 2000  # calls of each side that are searched for where they come together again
SURE = 3  # equal calls in a row that end a gap


class Stretch(NamedTuple):
    """a[first:last] and b[other:other_last]. equal: call by call the same; else a gap."""

    equal: bool
    first: int
    last: int
    other: int
    other_last: int


def align(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[Stretch]:
    """Stretches that cover both sequences, in order.

    Equal calls are paired greedily; where they part, the next WINDOW calls of each side are compared as `diff` would.
    """
    i = j = 0
    while i < len(a) or j < len(b):
        n = _equal(a, b, i, j)
        if n:
            yield Stretch(True, i, i + n, j, j + n)
            i, j = i + n, j + n
        if i >= len(a) and j >= len(b):
            return
        di, dj = _gap(a[i : i + WINDOW], b[j : j + WINDOW])
        yield Stretch(False, i, i + di, j, j + dj)
        i, j = i + di, j + dj


def _equal(a: Sequence[Hashable], b: Sequence[Hashable], i: int, j: int) -> int:
    n, most = 0, min(len(a) - i, len(b) - j)
    while n < most and a[i + n] == b[j + n]:
        n += 1
    return n


def _gap(a: Sequence[Hashable], b: Sequence[Hashable]) -> tuple[int, int]:
    """How many calls of each side go by before the two come together again."""
    for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        at_an_end = block.a + block.size == len(a) and block.b + block.size == len(b)
        if block.size >= SURE or (block.size and at_an_end):
            return block.a, block.b
    return len(a), len(b)
