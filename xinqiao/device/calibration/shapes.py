"""Which kernels are measured: candidates as data, and their order.

A candidate is worth measuring where interpolation between the others would be least sure: where it is farthest from
them, by the distance that `cost.table` interpolates with. So each group is ordered greedily: first the middle, then
always the candidate farthest from those before it. Every beginning of that order covers the group as evenly as so few
points can, which is why a measurement that is stopped early leaves a useful table.
"""

from collections.abc import Iterator, Sequence
from itertools import product, zip_longest
from math import dist, inf
from typing import NamedTuple

from xinqiao.chips.table import Kind
from xinqiao.cost.table import kernel_of, place

Shape = tuple[int, ...]

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)  # tokens that meet a weight
MATRICES = (  # [n, k] of linear layers
    *((1024, 1024), (2816, 1024), (1024, 2816), (32768, 1024)),  # 0.3-0.6 B: projections, MLP up and down, head
    *((2560, 2048), (5632, 2048), (2048, 5632)),  # 1-2 B
    *((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)),  # 7-9 B
    *((1280, 8192), (8192, 1024), (7168, 8192), (8192, 3584)),  # 70 B on eight devices
    *((2112, 7168), (24576, 1536), (7168, 16384), (7168, 2048)),  # latent attention and shared experts, 671 B
)
EXPERTS = ((1536, 2048), (2048, 768), (4096, 7168), (7168, 2048))  # gate and up, down: of 30 B and 671 B mixtures
GROUPS = (8, 32)
HEADS = (  # heads, KV heads, head dim
    *((16, 16, 64), (16, 8, 64), (32, 8, 64)),
    *((32, 32, 128), (32, 8, 128), (8, 1, 128), (64, 8, 128)),
)
LENGTHS = (64, 256, 512, 1024, 2048, 4096, 8192)
SEQUENCES = (1, 4, 16, 64, 128)
NUMBERS = tuple(2**power for power in range(10, 28))
WIDTHS = (1024, 4096, 8192)
COPIES = (2**24, 2**26, 2**28)

FORMATS = {  # most wanted first, for a processor and for accelerators; and how many GEMMs of each
    "cpu": {"fp32": 32, "bf16": 10, "fp16": 6, "int8": 6, "fp8": 6},
    "": {"bf16": 32, "fp16": 8, "int8": 20, "fp8": 20, "fp32": 6},
}
SHARES: dict[Kind, int] = {  # how many of each other kind, all in the most wanted format; figures of a chip first
    **{"copy": 3, "launch": 1, "elementwise": 16, "norm": 8, "embedding": 2},
    **{"grouped_gemm": 8, "prefill_attention": 10, "decode_attention": 14},
}
PROBE = (64, 1024, 1024)  # the GEMM that tells whether a device can do a format, and about how fast


class Candidate(NamedTuple):
    """A row before it is measured."""

    kind: Kind
    format: str
    shape: Shape


def candidates(kind: Kind) -> list[Shape]:
    """All shapes of a kind; see `chips.table.SIZES` for what they list."""
    made: dict[Kind, Iterator[Shape]] = {
        "gemm": ((m, n, k) for m, (n, k) in product(ROWS, MATRICES)),
        "grouped_gemm": ((m, n, k, g) for m, (n, k), g in product(ROWS[:11], EXPERTS, GROUPS)),
        "prefill_attention": ((1, length, *heads) for length, heads in product(LENGTHS, HEADS)),
        "decode_attention": ((s, keys, *heads) for s, keys, heads in product(SEQUENCES, LENGTHS, HEADS)),
        "elementwise": product(NUMBERS, (2, 3)),
        "norm": product(ROWS, WIDTHS),
        "embedding": product(ROWS, WIDTHS),
        "copy": ((size,) for size in COPIES),
        "launch": iter(((1,),)),
    }
    return list(made[kind])


def ordered(group: Sequence[Candidate]) -> list[Candidate]:
    """Greedily, each as far as possible from those before it, the first in the middle."""
    if not group:
        return []
    places = {candidate: place(kernel_of(*candidate)) for candidate in group}
    centre = tuple(sum(axis) / len(places) for axis in zip(*places.values(), strict=True))
    chosen = [min(places, key=lambda candidate: (dist(places[candidate], centre), candidate))]
    left = dict.fromkeys(places, inf)
    while len(chosen) < len(places):
        last = places[chosen[-1]]
        left.pop(chosen[-1])
        left = {candidate: min(far, dist(places[candidate], last)) for candidate, far in left.items()}
        chosen.append(max(left, key=lambda candidate: (left[candidate], candidate)))
    return chosen


def interleaved(groups: Sequence[Sequence[Candidate]]) -> list[Candidate]:
    """The first of every group, then the second of every group, …"""
    return [one for turn in zip_longest(*groups) for one in turn if one is not None]
