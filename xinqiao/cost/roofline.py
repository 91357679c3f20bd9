"""Time of one operator: the slower of arithmetic and memory traffic, and the launch.

    seconds = launch + max(FLOPs / (peak × 0.7), bytes / (bandwidth × 0.8))

The two efficiencies and the default launch time are generic constants, not fitted to any chip; over 45 published
end-to-end measurements they are 14 % off in the median. A figure that the chip's file does not know is left out of the
formula, so that the time is a lower bound; `unknown_figures` names them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from xinqiao.chips.fused import Fit, fit
from xinqiao.chips.spec import Chip
from xinqiao.cost.own import work as work_of
from xinqiao.cost.work import Tensor, flops

COMPUTE_EFFICIENCY = 0.7
MEMORY_EFFICIENCY = 0.8
DEFAULT_LAUNCH = 3e-6  # seconds
DEFAULT_HOST_LINK = 24e9  # bytes/s: PCIe 4.0 x16 as measured programs see it
HOST_BANDWIDTH = 20e9  # bytes/s that an operator moved to the host gets


class Cost(NamedTuple):
    seconds: float
    flops: float
    bytes: float


def launch_seconds(chip: Chip) -> float:
    """Seconds from one launch to the next."""
    return chip.per_device().launch or DEFAULT_LAUNCH


def operator(
    chip: Chip, name: str, dtype: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, flag: bool = False
) -> Cost:
    """Cost of one call on one device of `chip`. dtype: 'bfloat16', the one that the operator computes in."""
    work = flops(name, [t.shape for t in inputs], [t.shape for t in outputs], flag=flag)
    return _cost(chip, dtype, work, float(sum(t.bytes for t in (*inputs, *outputs))))


def own(
    chip: Chip, name: str, dtype: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], numbers: Sequence[int]
) -> tuple[Cost, list[Fit]]:
    """Cost of one call of an operator of `xinqiao.ops` such as 'dsa_index', and the vendor's kernels for its parts.

    A part that the vendor has a kernel for is that kernel; else the operators that it is composed of.
    """
    written, costs, fits = float(sum(t.bytes for t in outputs)), [], []
    for work in work_of(name, inputs, numbers):
        found = fit(chip, work.name, dtype, work.sizes)
        moved, kernels = (work.read, 1) if found.kernel else (work.read + work.composed, work.kernels)
        costs.append(_cost(chip, dtype, work.flops, moved + written, kernels=kernels))
        fits.append(found)
        written = 0.0  # once
    return Cost(*map(sum, zip(*costs, strict=True))), fits


def _cost(chip: Chip, dtype: str, work: float, moved: float, *, kernels: int = 1) -> Cost:
    figures = chip.per_device()
    peak = figures.peak(dtype)
    arithmetic = work / (peak * COMPUTE_EFFICIENCY) if peak else 0.0
    traffic = moved / (figures.bandwidth * MEMORY_EFFICIENCY) if figures.bandwidth else 0.0
    return Cost(kernels * launch_seconds(chip) + max(arithmetic, traffic), work, moved)


def on_host(chip: Chip, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Cost:
    """Cost of an operator that the vendor's software runs on the host: there, computed, and back."""
    moved = float(sum(t.bytes for t in (*inputs, *outputs)))
    link = chip.per_device().host or DEFAULT_HOST_LINK
    return Cost(2 * launch_seconds(chip) + moved / link + moved / HOST_BANDWIDTH, 0.0, moved)


def copy(chip: Chip, source: Tensor, target: Tensor, *, from_host: bool, to_host: bool, to_peer: bool) -> Cost:
    """Cost of a copy within a device, between host and device, or between two devices."""
    figures = chip.per_device()
    if from_host or to_host:
        link = figures.host or DEFAULT_HOST_LINK
        return Cost(launch_seconds(chip) + target.bytes / link, 0.0, float(target.bytes))
    moved = float(source.bytes + target.bytes)
    rate = figures.scale_up if to_peer else figures.bandwidth
    return Cost(launch_seconds(chip) + (moved / (rate * MEMORY_EFFICIENCY) if rate else 0.0), 0.0, moved)


_RING_STEPS = {"allreduce_": 2.0}  # a ring all-reduce sends everything twice; the others once


def collective(chip: Chip, name: str, nbytes: int, ranks: int) -> float:
    """Seconds of a ring collective over `ranks` devices inside the fast domain; nbytes of one rank's tensor."""
    if ranks < 2:
        return launch_seconds(chip)
    rate = chip.per_device().scale_up
    steps = _RING_STEPS.get(name, 1.0) * (ranks - 1) / ranks
    return launch_seconds(chip) + (steps * nbytes / (rate * MEMORY_EFFICIENCY) if rate else 0.0)


def unknown_figures(chip: Chip, dtypes: Sequence[str]) -> list[str]:
    """Figures that predicted times leave out because the chip's file does not know them."""
    figures = chip.per_device()
    missing = [f"peak arithmetic at {d}" for d in dtypes if figures.peak(d) is None]
    missing += ["memory bandwidth"] if not figures.bandwidth else []
    return missing
