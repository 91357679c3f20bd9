"""Lay two sequences of keys side by side: equal runs, and the gaps between them."""

from collections.abc import Hashable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

WINDOW = 2000  # calls of each side that are searched for where they come together again
SURE = 3  # equal calls in a row that end a gap


class _End(Enum):
    END = 0  # both sequences end together


class Stretch(NamedTuple):
    """a[first:last] and b[other:other_last]. equal: call by call the same; else a gap."""

    equal: bool
    first: int
    last: int
    other: int
    other_last: int


def align(a: Sequence[Hashable], b: Sequence[Hashable]) -> Iterator[Stretch]:
    """Stretches that cover both sequences, in order.

    Equal calls are paired greedily; where they part, the next WINDOW calls of each side are searched for the nearest
    place where SURE calls in a row are the same again. Takes time in proportion to the length, times WINDOW / SURE at
    worst.
    """
    i = j = 0
    while i < len(a) or j < len(b):
        n = _equal(a, b, i, j)
        if n:
            yield Stretch(True, i, i + n, j, j + n)
            i, j = i + n, j + n
        if i >= len(a) and j >= len(b):
            return
        ends = i + WINDOW >= len(a) and j + WINDOW >= len(b)
        di, dj = _gap(a[i : i + WINDOW], b[j : j + WINDOW], ends=ends)
        yield Stretch(False, i, i + di, j, j + dj)
        i, j = i + di, j + dj


def _equal(a: Sequence[Hashable], b: Sequence[Hashable], i: int, j: int) -> int:
    n, most = 0, min(len(a) - i, len(b) - j)
    while n < most and a[i + n] == b[j + n]:
        n += 1
    return n


def _gap(a: Sequence[Hashable], b: Sequence[Hashable], *, ends: bool) -> tuple[int, int]:
    """How many calls of each side go by before SURE of them in a row are the same again, as few as can be."""
    tail = [_End.END] * SURE if ends else []
    a, b = [*a, *tail], [*b, *tail]
    first_at: dict[tuple[Hashable, ...], int] = {}
    for j in range(len(b) - SURE + 1):
        first_at.setdefault(tuple(b[j : j + SURE]), j)
    best = (len(a) - len(tail), len(b) - len(tail))
    for i in range(len(a) - SURE + 1):
        if i >= sum(best):
            break
        found = first_at.get(tuple(a[i : i + SURE]))
        if found is not None and i + found < sum(best):
            best = (i, found)
    return best
