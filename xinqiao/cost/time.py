"""Seconds, split by what they are spent on. Each kind of them has its own uncertainty."""

from collections.abc import Iterable
from typing import NamedTuple


class Time(NamedTuple):
    """Seconds of a kernel or of many. What one kernel spends is the sum of the parts.

    compute   bound by the units that multiply
    attention bound by those units, inside attention's core
    memory    bound by device memory, weights and activations
    cache     bound by device memory, reading the KV cache
    launch    from one kernel to the next on the device
    core      that an attention kernel takes at least
    host      waiting for the host to launch or to schedule
    link      bound by the rate of a link
    latency   of messages, whatever their size
    """

    compute: float = 0.0
    attention: float = 0.0
    memory: float = 0.0
    cache: float = 0.0
    launch: float = 0.0
    core: float = 0.0
    host: float = 0.0
    link: float = 0.0
    latency: float = 0.0

    @property
    def seconds(self) -> float:
        return sum(self)

    @property
    def bound(self) -> str:
        """The largest part."""
        return max(zip(self, self._fields, strict=True))[1]

    def times(self, factor: float) -> "Time":
        if factor == 1:
            return self
        return Time(*[part * factor for part in self])


def together(times: Iterable[Time]) -> Time:
    """One after the other."""
    return Time(*map(sum, zip(*times, strict=True))) if (times := list(times)) else Time()


def overlapped(one: Time, other: Time, share: float) -> Time:
    """Two streams of work of which `share` (0..1) of the shorter one is hidden behind the longer."""
    short, long = sorted((one, other), key=lambda t: t.seconds)
    return together((long, short.times(1 - share)))
