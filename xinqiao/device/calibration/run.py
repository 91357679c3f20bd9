"""Measure within a time: all kernels once, then again in turns, so that what disturbs one for a while disturbs all."""

import time
from collections.abc import Callable, Collection
from math import log, prod
from statistics import median
from typing import NamedTuple

import torch

from xinqiao.chips.table import Kind, Row
from xinqiao.cost.table import kernel_of
from xinqiao.device.calibration.calls import DTYPES, Call, Pool, Room, call
from xinqiao.device.calibration.machine import Machine
from xinqiao.device.calibration.shapes import (
    COPIES,
    FORMATS,
    PROBE,
    SHARES,
    Candidate,
    candidates,
    interleaved,
    ordered,
)

SAMPLE = 2e-3  # seconds that one sample takes at least, in as many calls as that needs
MOST_SAMPLES = 25
SHARE = 600  # a call may take the whole time divided by this
EMULATED = 3  # times slower than the fastest format: the device computes in another one
POOL = 2**31  # bytes at most
POOL_SHARE = 128  # of the device's memory at most

Progress = Callable[[int, int], None]  # kernels measured, samples of them


class Speed(NamedTuple):
    """What a device reaches, roughly: to leave out what would take too long."""

    rate: float  # FLOP/s
    bandwidth: float  # bytes/s


class Measured:
    """One candidate, its call, and the seconds of each sample."""

    def __init__(self, candidate: Candidate, call: Call) -> None:
        self.candidate, self.call = candidate, call
        self.samples: list[float] = []
        self.calls = 0  # timed so far: the next one takes the next weight

    def sample(self, machine: Machine) -> None:
        """One more; the first time, after a call that warms up."""
        once = median(self.samples) if self.samples else machine.clock(self.call, 0, 1)
        count = max(1, min(machine.calls, round(SAMPLE / max(once, 1e-9))))
        self.samples.append(machine.clock(self.call, self.calls, count))
        self.calls += count

    def row(self) -> Row:
        middle = median(self.samples)
        return Row(
            kind=self.candidate.kind,
            format=self.candidate.format,
            shape=self.candidate.shape,
            seconds=float(f"{middle:.5g}"),
            spread=round(median(abs(log(s / middle)) for s in self.samples), 4),
            repeats=self.calls,
        )


class Bench:
    """A machine with its pools, one for each format, made when they are first asked for."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.room_bytes = max(2 * machine.cache, min(machine.capacity // POOL_SHARE, POOL))
        self._rooms: dict[str, Room] = {}

    def room(self, form: str) -> Room:
        if form not in self._rooms:
            device = self.machine.device
            self._rooms[form] = Room(Pool(device, DTYPES[form], self.room_bytes), device)
        return self._rooms[form]

    def keep_only(self, formats: Collection[str]) -> None:
        """Give the memory of all other pools back."""
        self._rooms = {form: room for form, room in self._rooms.items() if form in formats}

    def measured(self, candidate: Candidate) -> Measured | None:
        """With its first sample; None where the device has no room for it or cannot do it."""
        try:
            made = call(*candidate, self.room(candidate.format))
            if made is None:
                return None
            measured = Measured(candidate, made)
            measured.sample(self.machine)
        except RuntimeError:  # PyTorch's word for: not on this device, not this dtype, not this shape, no memory
            return None
        return measured


def measure(machine: Machine, seconds: float, progress: Progress) -> list[Row]:
    """Rows of one device, in about `seconds` after making ready; fewer where the user interrupts it."""
    bench, done = Bench(machine), list[Measured]()
    with torch.inference_mode():
        try:
            plan = _plan(bench, seconds / SHARE)
            deadline = time.perf_counter() + seconds
            for candidate in plan:
                if time.perf_counter() > deadline and done:
                    break
                if measured := bench.measured(candidate):
                    done.append(measured)
                progress(len(done), len(done))
            _repeat(machine, done, deadline, progress)
        except KeyboardInterrupt:
            pass  # what is measured is worth keeping
    return [measured.row() for measured in done]


def _repeat(machine: Machine, done: list[Measured], deadline: float, progress: Progress) -> None:
    """All in turns: where the machine itself becomes slower, all rows have as many samples of before as of after."""
    samples = len(done)
    for _ in range(MOST_SAMPLES - 1):
        for measured in done:
            if time.perf_counter() > deadline:
                return
            measured.sample(machine)
            samples += 1
            progress(len(done), samples)


def _plan(bench: Bench, longest: float) -> list[Candidate]:
    """What to measure, in order; what has no room, or would take more than `longest` seconds, is left out."""
    speeds = _speeds(bench)
    counts = FORMATS.get(bench.machine.device, FORMATS[""])

    def fits(candidate: Candidate) -> bool:
        kernel, speed = kernel_of(*candidate), speeds[candidate.format]
        moved = kernel.bytes + kernel.cache
        return moved <= bench.room_bytes and kernel.flops / speed.rate + moved / speed.bandwidth < longest

    def group(kind: Kind, form: str, count: int) -> list[Candidate]:
        every = [Candidate(kind, form, shape) for shape in candidates(kind)]
        return ordered([candidate for candidate in every if fits(candidate)])[:count]

    first = list(speeds)[:1]
    groups = [group(kind, form, count) for form in first for kind, count in SHARES.items()]
    groups += [group("gemm", form, counts[form]) for form in speeds]
    return interleaved(groups)


def _speeds(bench: Bench) -> dict[str, Speed]:
    """Of the two most wanted formats that the device can do, and of the others that it does not merely emulate."""
    found: dict[str, Speed] = {}
    for form in FORMATS.get(bench.machine.device, FORMATS[""]):
        probe = bench.measured(Candidate("gemm", form, PROBE))
        copy = bench.measured(Candidate("copy", form, COPIES[:1]))
        if probe and copy:
            found[form] = Speed(2 * prod(PROBE) / probe.row().seconds, 2 * COPIES[0] / copy.row().seconds)
    fast = max((speed.rate for speed in found.values()), default=0.0) / EMULATED
    kept = {form: speed for at, (form, speed) in enumerate(found.items()) if at < 2 or speed.rate > fast}
    bench.keep_only(kept)
    return kept
