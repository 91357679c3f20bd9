"""What a serving stack makes of a chip: worth up to two times, so it is stated and never assumed in silence."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from xinqiao.cost.kernel import Kernel, elementwise
from xinqiao.errors import InputError, nearest

FILE = Path(__file__).with_name("software.toml")
Share = Annotated[float, Meta(ge=0, le=1)]


class Kernels(NamedTuple):
    """What an operator that multiplies nothing is on the device: `passes` over 16-bit numbers by all `kernels`.

    kind: of each, among measured kernels.
    """

    kernels: float
    passes: float
    kind: str = "elementwise"

    def over(self, numbers: float) -> Kernel:
        return elementwise(numbers, passes=self.passes / self.kernels, count=self.kernels)._replace(kind=self.kind)


class Written(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The operators around products. As engines fuse them, unless a stack's own counts are stated.

    norm        over one token's hidden state; fused: with the addition before it
    residual    that addition, where it is a kernel of its own
    rope        over queries and keys; fused: with the copy of keys and values into the cache
    append      keys and values to the cache, where that is of its own
    positions   angles of the positions of one sequence, once, over a head's width
    activation  over the inner width: of two products, multiplied
    router      over the scores of all experts
    permute     over the rows of experts' tokens, in; `collect`: out again, weighed and summed
    sampling    over logits
    split       queries, keys and values, and gate and up, are products of their own
    grows       the cache is copied as a whole when a token comes
    """

    norm: Kernels = Kernels(1, 4, "norm")
    residual: Kernels | None = None
    rope: Kernels = Kernels(1, 2)
    append: Kernels | None = None
    positions: Kernels | None = None
    activation: Kernels = Kernels(1, 3)
    router: Kernels = Kernels(2, 8)
    permute: Kernels = Kernels(1, 2)
    collect: Kernels = Kernels(1, 1.2)
    sampling: Kernels = Kernels(3, 12)
    split: bool = False
    grows: bool = False


class Software(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stack. Its source says where the facts come from; a fact that none states has the field's usual value."""

    title: str
    source: str
    grouped_queries: bool = True  # decode attention reads a KV head once for all its query heads
    fused_quantise: bool = True  # activations are quantised by the kernel before, not by one of their own
    graphs: bool = True  # decode steps are captured and replayed: the host launches once a step
    prefill_graphs: bool = False
    overlap: Share = 0.0  # of communication that hides behind computing, expert parallelism
    chunk: int = 8192  # tokens of an iteration at most
    sequences: int = 2048  # in flight on one engine at most
    memory: Share = 0.9  # of the device that the engine takes
    written: Written = Written()
    kernels: float = 1.0  # kernels for one of ours: unfused software has more


@cache
def presets() -> dict[str, Software]:
    """Every preset by name."""
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), dict[str, Software])


def load(name: str) -> Software:
    """A preset such as 'vllm'."""
    found = presets().get(name)
    if found is None:
        raise InputError(f"no software '{name}'{nearest(name, presets())}; there are {', '.join(sorted(presets()))}")
    return found
