"""Time of one operator that PyTorch calls: its kernels at `cost.price`, with the 'eager' software.

The virtual chip's clock and a model's predicted speed are the same numbers. A figure that the chip's file does not know
is left out, so that the time is a lower bound; `unknown_figures` names them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from xinqiao.chips import nodes
from xinqiao.chips.fused import Fit, fit
from xinqiao.chips.performance import FORMATS
from xinqiao.chips.spec import Chip
from xinqiao.cost import aten, links, software
from xinqiao.cost.kernel import Kernel
from xinqiao.cost.own import Work
from xinqiao.cost.own import work as work_of
from xinqiao.cost.price import Price
from xinqiao.cost.unknown import Unknown
from xinqiao.cost.work import Tensor

DEFAULT_HOST_LINK = 24e9  # bytes/s: PCIe 4.0 x16 as measured programs see it
HOST_BANDWIDTH = 20e9  # bytes/s that an operator moved to the host gets


class Cost(NamedTuple):
    seconds: float
    flops: float
    bytes: float


def price(chip: Chip) -> Price:
    """What the functions here price with; one for all calls on a chip."""
    return Price(chip, software.load("eager"), lower_bound=True)


def operator(
    price: Price, name: str, dtype: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, flag: bool = False
) -> Cost:
    """Cost of one call on one device. dtype: 'bfloat16', the one that the operator computes in."""
    return _cost(price, aten.kernel(name, dtype, inputs, outputs, flag=flag))


def own(
    price: Price, name: str, dtype: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], numbers: Sequence[int]
) -> tuple[Cost, list[Fit]]:
    """Cost of one call of an operator of `xinqiao.ops` such as 'dsa_index', and the vendor's kernels for its parts.

    A part that the vendor has a kernel for is that kernel; else the operators that it is composed of.
    """
    written, costs, fits = float(sum(t.bytes for t in outputs)), [], []
    for work in work_of(name, inputs, numbers):
        found = fit(price.chip, work.name, dtype, work.sizes)
        moved, kernels = (work.read, 1) if found.kernel else (work.read + work.composed, work.kernels)
        costs.append(_cost(price, _own_kernel(work, dtype, moved + written), launches=kernels))
        fits.append(found)
        written = 0.0  # once
    return Cost(*map(sum, zip(*costs, strict=True))), fits


def _own_kernel(work: Work, dtype: str, moved: float) -> Kernel:
    kind = "prefill_attention" if work.name.startswith(("dsa", "nsa")) else "gemm" if work.flops else "elementwise"
    rows = 0.0
    if work.flops and "n" in work.sizes:
        rows = work.flops / (2.0 * work.sizes["n"] * work.sizes["k"] * work.sizes.get("experts", 1))
    return Kernel(kind, FORMATS.get(dtype, dtype), work.flops, moved, 0.0, rows)


def _cost(price: Price, kernel: Kernel, *, launches: int = 1) -> Cost:
    seconds = price.kernel(kernel).seconds + (launches - 1) * price.launch
    return Cost(seconds, kernel.flops, kernel.bytes + kernel.cache)


def on_host(price: Price, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Cost:
    """Cost of an operator that the vendor's software runs on the host: there, computed, and back."""
    moved = float(sum(t.bytes for t in (*inputs, *outputs)))
    link = price.device.host or DEFAULT_HOST_LINK
    return Cost(2 * price.launch + moved / link + moved / HOST_BANDWIDTH, 0.0, moved)


def copy(price: Price, source: Tensor, target: Tensor, *, from_host: bool, to_host: bool, to_peer: bool) -> Cost:
    """Cost of a copy within a device, between host and device, or between two devices."""
    if from_host or to_host:
        link = price.device.host or DEFAULT_HOST_LINK
        return Cost(price.launch + target.bytes / link, 0.0, float(target.bytes))
    moved = float(source.bytes + target.bytes)
    if not to_peer:
        return _cost(price, Kernel("elementwise", bytes=moved))
    return Cost(price.launch + _sent(price, moved), 0.0, moved)


def _sent(price: Price, nbytes: float) -> float:
    """Seconds inside the fast domain; 0 where no source states its rate."""
    rate = price.device.scale_up
    return nbytes / (rate * price.constants.link.value) if rate else 0.0


def collective(price: Price, name: str, nbytes: int, ranks: int) -> float:
    """Seconds of a collective over the first `ranks` devices of the chip's usual machine; nbytes of one rank's tensors.

    A link's rate that no source states is left out.
    """
    constants = price.constants
    reached = links.Efficiency(constants.link.value, constants.latency.value)
    exchange = links.all_reduce if name == "allreduce_" else links.all_gather
    try:
        moved = exchange(nodes.of(price.chip), links.Group(ranks), nbytes, reached).total
    except Unknown:
        moved = 0.0
    return price.launch + moved


def unknown_figures(chip: Chip, dtypes: Sequence[str]) -> list[str]:
    """Figures that predicted times leave out because the chip's file does not know them."""
    figures = chip.per_device()
    missing = [f"peak arithmetic at {d}" for d in dtypes if figures.peak(d) is None]
    missing += ["memory bandwidth"] if not figures.bandwidth else []
    return missing
