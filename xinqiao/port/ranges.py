"""Byte ranges of a file that can be asked what they cover."""

from bisect import bisect_right
from collections.abc import Iterable


class Ranges:
    """Ranges (begin, end, owner), asked for those that cover another one."""

    def __init__(self, ranges: Iterable[tuple[int, int, object]]) -> None:
        self._begins: list[int] = []
        self._farthest: list[tuple[int, object, int]] = []  # farthest end so far, its owner; that of any other owner
        far, owner, second = -1, object(), -1
        for begin, end, whose in sorted(ranges, key=lambda r: r[:2]):
            if whose is owner:
                far = max(far, end)
            elif end > far:
                far, owner, second = end, whose, far
            else:
                second = max(second, end)
            self._begins.append(begin)
            self._farthest.append((far, owner, second))

    def cover(self, begin: int, end: int, owner: object = None) -> bool:
        """Whether one of them, of another owner, has all of [begin, end)."""
        at = bisect_right(self._begins, begin) - 1
        if at < 0:
            return False
        far, whose, second = self._farthest[at]
        return (second if whose is owner else far) >= end
