"""Limits of processor time that mean the same on every machine."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

TURNS, SECONDS = 1_000_000, 0.065  # of the loop below, on a processor of 2021 at 3 GHz


@contextmanager
def within(limit: float) -> Iterator[None]:
    """What is done inside takes less than `limit` seconds of such a processor's time."""
    # What earlier tests left on the heap is not this one's: a full collection would go through all of it.
    gc.freeze()
    begun = time.process_time()
    try:
        yield
        taken = time.process_time() - begun
    finally:
        gc.unfreeze()
    check(taken, limit)


def check(taken: float, limit: float) -> None:
    """`taken` seconds of this machine's processor time, just spent, are less than `limit` of such a processor's."""
    # How slow the machine is costs time to find out, and is asked only where it decides.
    assert taken < limit or taken < limit * slowness(), f"{taken:.2f} s here, limit {limit} s on a machine of 2021"


def slowness() -> float:
    """This machine's time over such a processor's, now, from 1 to 4: slower ones are not meant."""
    begun = time.process_time()
    total = 0
    for i in range(TURNS):
        total += i * i % 7
    return min(max(1.0, (time.process_time() - begun) / SECONDS), 4.0)
