"""Work on many items, on all processors where that pays."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
_PAYS = 2_000_000  # bytes of source; below that, starting processes costs more than it gives
_function: list[Callable[[Any], Any]] = []  # of a worker


def spread(function: Callable[[Item], Outcome], items: Sequence[Item], size: int) -> list[Outcome]:
    """`function` of each item, in order. size: bytes of source in all of them."""
    processors = len(os.sched_getaffinity(0))
    if size < _PAYS or processors < 2 or not _may_fork():
        return [function(item) for item in items]
    chunk = max(1, len(items) // (processors * 16))
    try:
        # A forked worker finds the function, and what it knows, in its memory; only items and outcomes are sent.
        with ProcessPoolExecutor(processors, get_context("fork"), _function.append, (function,)) as pool:
            return list(pool.map(_work, items, chunksize=chunk))
    except BrokenProcessPool:  # a worker was ended from outside, for want of memory most likely
        return [function(item) for item in items]


def _work(item: Item) -> Any:
    return _function[-1](item)


def _may_fork() -> bool:
    """Whether this process has a single thread: with more of them a fork may hang."""
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False
