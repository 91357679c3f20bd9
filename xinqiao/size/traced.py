"""Any PyTorch program on a chip: run without data on the virtual chip, its record turned into seconds and memory."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from xinqiao.chips import catalog
from xinqiao.chips.spec import Chip
from xinqiao.cost.constants import constants
from xinqiao.device.launch import launch
from xinqiao.device.settings import Settings
from xinqiao.errors import InputError
from xinqiao.record.files import read
from xinqiao.record.schema import Memory, OperatorRow, RunRecord

REST = "activations and work space"


class Held(NamedTuple):
    """Bytes of the fullest device at its peak. parts: their sum is the peak. capacity: None where it is not known."""

    parts: dict[str, int]
    peak: int
    capacity: int | None


class Traced(NamedTuple):
    """One run of a program on one device; with several ranks, of the slowest one.

    operators   by shapes, the longest first; `kind` and `bound` say what each is
    device      seconds until the last stream is done
    host        seconds more that launching takes, one kernel after the other
    """

    chip: str
    operators: list[OperatorRow]
    device: float
    host: float
    memory: Held
    caveats: list[str]

    @property
    def seconds(self) -> float:
        return self.device + self.host

    @property
    def kernels(self) -> int:
        return sum(row.count for row in self.operators)

    def by_kind(self) -> dict[str, float]:
        """Seconds on the device of each kind of kernel, the longest first."""
        return _sums((row.kind, row.seconds) for row in self.operators)

    def by_bound(self) -> dict[str, float]:
        """Seconds on the device by what most of each operator's time is spent on."""
        return _sums((row.bound, row.seconds) for row in self.operators)


def trace(script: Path, arguments: list[str], chip: str, *, ranks: int = 1, log: Path | None = None) -> Traced:
    """Run `script` as `xinqiao run --shapes` does, in processes of its own, and read what it left behind.

    log   where the program's output goes; None: it passes through
    InputError where the program fails, or uses no device.
    """
    with tempfile.TemporaryDirectory(prefix="xinqiao-") as folder:
        record = Path(folder) / "run.json"
        code = launch(Settings(chip, shapes=True, record=record), script, arguments, ranks=ranks, log=log)
        if code or not record.exists():
            raise InputError(f"{script}: the program ended with exit code {code} on {chip}; see what it printed")
        runs = [read(path) for path in sorted(Path(folder).glob("run*.json"))]
    device = catalog.load(chip)
    return max((answer(run, device) for run in runs if isinstance(run, RunRecord)), key=lambda t: t.seconds)


def answer(run: RunRecord, chip: Chip) -> Traced:
    """What a record of a virtual run says. InputError where nothing ran on the chip."""
    if not run.operators or not run.memory:
        raise InputError(f"{run.argv[0]}: nothing ran on '{run.device}': the program computes on the host alone")
    found, _ = constants(chip.name, chip.vendor)
    kernels = sum(row.count for row in run.operators)
    waiting = max(kernels * found.host.value - run.predicted_seconds, 0.0)
    fullest = max(run.memory, key=lambda m: m.peak)
    return Traced(run.title, run.operators, run.predicted_seconds, waiting, _held(fullest), run.caveats)


def _held(memory: Memory) -> Held:
    """Where the peak is before all gradients are there, they share their place with activations."""
    parts, left = {}, memory.peak
    for part, size in memory.parts.items():
        parts[part] = min(size, left)
        left -= parts[part]
    return Held({**parts, REST: left}, memory.peak, memory.capacity)


def _sums(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, seconds in pairs:
        found[name] = found.get(name, 0.0) + seconds
    return dict(sorted(found.items(), key=lambda item: -item[1]))
