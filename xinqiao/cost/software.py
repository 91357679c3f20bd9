"""What a serving stack makes of a chip: worth up to two times, so it is stated and never assumed in silence."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from xinqiao.errors import InputError, nearest

FILE = Path(__file__).with_name("software.toml")
Share = Annotated[float, Meta(ge=0, le=1)]


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
