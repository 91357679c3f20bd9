"""Machines: which devices of a chip share which links. One .toml file in nodes/ holds one machine."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from xinqiao.chips import catalog
from xinqiao.chips.figures import Duration, Figure, Link
from xinqiao.chips.read import FOLDER, explain, parse
from xinqiao.chips.spec import Chip
from xinqiao.errors import InputError, nearest

NODES = FOLDER / "nodes"

Port = Literal["die", "scale_up", "host", "scale_out"]
Topology = Literal["switch", "mesh", "ring", "pcie"]


class LevelSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices that reach one another over one kind of link. Figures are of one device as PyTorch sees it."""

    name: str  # 'package', 'node', 'pod', 'cluster'
    size: Annotated[int, Meta(ge=2)] | None = None  # devices that it joins; None: any number
    topology: Topology
    port: Port  # the device's links that it runs over; levels of one port share its rate
    rate: Link | None = None  # None: the chip's own figure of that port
    latency: Duration = Duration()  # of one hop
    source: str  # of size and topology


class NodeSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine as its file states it; levels from inner to outer."""

    title: str
    chips: tuple[str, ...]  # that it is built with; those that are based on them too
    usual: bool = True  # the machine meant when only the chip is named
    comments: tuple[str, ...] = ()
    levels: tuple[LevelSpec, ...]

    def __post_init__(self) -> None:
        """ValueError 'key: what is wrong' for the reader to place."""
        sizes = [level.size for level in self.levels]
        if not sizes or sizes[-1] is not None or None in sizes[:-1]:
            raise ValueError("levels: the last one, and only that, has no size: it joins any number of devices")
        inner = 1
        for index, size in enumerate(filter(None, sizes)):
            if size % inner or size == inner:
                raise ValueError(f"levels[{index}].size: {size} is not a multiple of the level inside it, {inner}")
            inner = size
        for index, level in enumerate(self.levels):
            if level.port == "die" and level.rate is None:
                raise ValueError(f"levels[{index}].rate: missing; chips state no rate between dies")


class Level(NamedTuple):
    """A level on one chip, in SI units, of one device. None: no source states it."""

    name: str
    size: int | None  # devices that it joins; None: any number
    width: int | None  # units of the level inside it that it joins; None: any number
    topology: Topology
    port: Port
    rate: float | None  # bytes/s one way
    latency: float | None  # seconds of one hop
    fact: str  # what to look up where the rate is None: 'scale_out of NVIDIA H100'


class Node(NamedTuple):
    """A machine of one chip; levels from inner to outer, the last of any size."""

    name: str  # '': no machine of this chip is on file
    title: str
    chip: str
    levels: tuple[Level, ...]


def names() -> list[str]:
    """All machines on file, sorted."""
    return sorted(_specs())


def load(name: str, chip: Chip | None = None) -> Node:
    """A machine by name, of `chip`, which may be left out where the machine is built with one chip only."""
    spec = _specs().get(name)
    if spec is None:
        raise InputError(f"no node '{name}'{nearest(name, names()) or '; known: ' + ', '.join(names())}")
    built_with = ", ".join(spec.chips)
    if chip is None and len(spec.chips) > 1:
        raise InputError(f"node '{name}' is built with several chips; name one of {built_with}")
    chip = chip or catalog.load(spec.chips[0])
    if not {chip.name, chip.base} & set(spec.chips):
        raise InputError(f"node '{name}' is built with {built_with}, not with {chip.name}")
    return _node(name, spec, chip)


def of(chip: Chip) -> Node:
    """The usual machine of a chip; where none is on file, one server on the chip's own links, then any number."""
    for wanted in filter(None, (chip.name, chip.base)):
        for name, spec in _specs().items():
            if spec.usual and wanted in spec.chips:
                return _node(name, spec, chip)
    return _node("", _unfiled(chip), chip)


def read(path: Path) -> NodeSpec:
    """The machine in `path`; InputError '<file>: <key>: <what is wrong>'."""
    try:
        return msgspec.convert(parse(path), NodeSpec)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {explain(error, NodeSpec)}") from error


@cache
def _specs() -> dict[str, NodeSpec]:
    return {path.stem: read(path) for path in sorted(NODES.glob("*.toml"))}


def _unfiled(chip: Chip) -> NodeSpec:
    """No source describes the machine: its size is what PyTorch sees on a usual server, its topology is not known."""
    devices = chip.torch.server_devices
    source = f"{chip.torch.source}; topology not known, taken as a switch"
    server = LevelSpec(name="node", size=devices, topology="switch", port="scale_up", source=source)
    cluster = LevelSpec(name="cluster", topology="switch", port="scale_out", source=source)
    return NodeSpec(
        title=f"{devices} × {chip.title} on its own links (no machine on file)",
        chips=(chip.name,),
        levels=(server, cluster) if devices > 1 else (cluster,),
    )


def _node(name: str, spec: NodeSpec, chip: Chip) -> Node:
    levels, inner = [], 1
    for level in spec.levels:
        levels.append(_level(level, inner, chip))
        inner = level.size or inner
    return Node(name, spec.title, chip.name, tuple(levels))


def _level(spec: LevelSpec, inner: int, chip: Chip) -> Level:
    own = spec.port != "die" and spec.rate is None
    return Level(
        name=spec.name,
        size=spec.size,
        width=spec.size and spec.size // inner,
        topology=spec.topology,
        port=spec.port,
        rate=getattr(chip.per_device(), spec.port) if own else _one_way(spec.rate or Figure()),
        latency=spec.latency.si,
        fact=f"{spec.port if own else 'rate of the ' + spec.name + ' level'} of {chip.title}",
    )


def _one_way(rate: Figure) -> float | None:
    return None if rate.si is None else rate.si / (2 if rate.direction == "two-way" else 1)
