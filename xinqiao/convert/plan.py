"""What a conversion will write: which weight in which format, in which shard, at which byte."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from xinqiao.convert.layouts import LAYOUTS, Layout
from xinqiao.convert.layouts.reading import Weight, pair
from xinqiao.convert.layouts.select import which
from xinqiao.convert.reader import Grid
from xinqiao.convert.source import Checkpoint
from xinqiao.errors import InputError, nearest
from xinqiao.native.codec import RULES, row_bytes

SHARD = 5_000_000_000  # bytes of tensors at which a new shard begins, as Hugging Face's writers do
ITEM = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
AS_IT_WAS = "as it was"


class Output(msgspec.Struct, frozen=True):
    """A tensor of the result. shape: as stored."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


class Job(msgspec.Struct, frozen=True):
    """One weight and what becomes of it. layout: '' where its bytes are copied."""

    weight: Weight
    layout: str
    reason: str
    outputs: tuple[Output, ...]

    @property
    def nbytes(self) -> int:
        return sum(output.nbytes for output in self.outputs)


class Shard(msgspec.Struct, frozen=True):
    """One file of the result."""

    name: str
    jobs: tuple[Job, ...]

    def header(self) -> bytes:
        """The safetensors header with its length before it, padded to 8 bytes."""
        described: dict[str, object] = {"__metadata__": {"format": "pt"}}
        for output, begin in self.offsets().items():
            described[output.name] = {
                "dtype": output.dtype,
                "shape": output.shape,
                "data_offsets": (begin, begin + output.nbytes),
            }
        text = msgspec.json.encode(described)
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def offsets(self) -> dict[Output, int]:
        """Where each tensor begins after the header: wide elements first, so that all are aligned; then by name."""
        outputs = [output for job in self.jobs for output in job.outputs]
        found, begin = {}, 0
        for output in sorted(outputs, key=lambda o: (-ITEM.get(o.dtype, 1), o.name)):
            found[output] = begin
            begin += output.nbytes
        return found

    @property
    def nbytes(self) -> int:
        return sum(job.nbytes for job in self.jobs)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks for.

    keep     patterns of weights that stay in full precision
    special  pattern → layout for the weights that it matches
    """

    layout: str
    rule: str = "ceil"
    keep: tuple[str, ...] = ()
    special: dict[str, str] = {}

    def __post_init__(self) -> None:
        """InputError for a name that no layout or rule has."""
        if self.rule not in RULES:
            raise InputError(f"no rule '{self.rule}'{nearest(self.rule, RULES)}; there are {', '.join(RULES)}")
        for name in (self.layout, *self.special.values()):
            if name not in LAYOUTS:
                raise InputError(f"no format '{name}'{nearest(name, LAYOUTS)}; there are {', '.join(LAYOUTS)}")


class Plan(msgspec.Struct, frozen=True):
    """All of a conversion, before a byte is written."""

    request: Request
    shards: tuple[Shard, ...]

    @property
    def jobs(self) -> list[Job]:
        return [job for shard in self.shards for job in shard.jobs]

    @property
    def nbytes(self) -> int:
        """Bytes that the shards will take."""
        return sum(shard.nbytes + len(shard.header()) for shard in self.shards)

    def key(self, source: Mapping[str, object]) -> str:
        """Equal only for the same request of the same source, wherever that lies."""
        jobs = [[(job.weight.name, job.layout, job.outputs) for job in shard.jobs] for shard in self.shards]
        return hashlib.sha256(msgspec.json.encode((self.request, source, jobs), order="sorted")).hexdigest()


def make(checkpoint: Checkpoint, request: Request) -> Plan:
    """The plan. InputError where a pattern matches nothing, or two tensors would have one name."""
    weights = pair(checkpoint.entries, checkpoint.config)
    _check_patterns(request, [weight.name for weight in weights])
    jobs = [_job(weight, request, checkpoint) for weight in weights]
    _check_names(jobs)
    groups = _grouped(jobs)
    names = (
        ["model.safetensors"]
        if len(groups) == 1
        else [f"model-{i:05d}-of-{len(groups):05d}.safetensors" for i in range(1, len(groups) + 1)]
    )
    return Plan(request, tuple(Shard(name, tuple(group)) for name, group in zip(names, groups, strict=True)))


def _job(weight: Weight, request: Request, checkpoint: Checkpoint) -> Job:
    name, reason = _layout(weight, request, checkpoint)
    if not name:
        entry = weight.codes
        return Job(weight, "", reason, (Output(entry.name, entry.dtype, entry.shape, entry.nbytes),))
    return Job(weight, name, reason, outputs(weight, LAYOUTS[name]))


def _layout(weight: Weight, request: Request, checkpoint: Checkpoint) -> tuple[str, str]:
    """(layout or '', why)."""
    for pattern, layout in request.special.items():
        if fnmatchcase(weight.name, pattern):
            return layout, f"--format-for {pattern}"
    kept = next((pattern for pattern in request.keep if fnmatchcase(weight.name, pattern)), None)
    if kept:
        return _full_precision(weight), f"--keep {kept}"
    choice, reason = which(weight, LAYOUTS[request.layout], checkpoint.config)
    return (request.layout if choice == "convert" else _full_precision(weight)), reason


def _full_precision(weight: Weight) -> str:
    """'' for a weight that is in a float format already, bf16 for one that is quantised."""
    return "bf16" if weight.quantised else ""


def outputs(weight: Weight, layout: Layout) -> tuple[Output, ...]:
    """The tensors of a weight in a layout: its codes and, where the layout has them, its scales."""
    *stack, columns = weight.shape
    width = row_bytes(layout.element, columns)
    item = ITEM.get(layout.codes_dtype, 1)
    codes_name, scale_name = layout.names(weight.name)
    shape = (*stack, width // item)
    codes = Output(codes_name, layout.codes_dtype, shape, math.prod(stack) * width)
    if not layout.scale:
        return (codes,)
    *outer, rows, columns = weight.shape
    grid = Grid.of(rows, columns, layout.block)
    size = ITEM.get(layout.scale_dtype, 1)
    shape = (*outer, grid.rows, grid.columns)
    return codes, Output(scale_name, layout.scale_dtype, shape, math.prod(shape) * size)


def _grouped(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs in their order, a new group where the next job would make a shard too large."""
    groups: list[list[Job]] = [[]]
    size = 0
    for job in jobs:
        if groups[-1] and size + job.nbytes > SHARD:
            groups.append([])
            size = 0
        groups[-1].append(job)
        size += job.nbytes
    return groups


def _check_patterns(request: Request, names: Sequence[str]) -> None:
    for option, patterns in (("--keep", request.keep), ("--format-for", request.special)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise InputError(f"{option} {pattern}: no weight has such a name{nearest(pattern, names)}")


def _check_names(jobs: Iterable[Job]) -> None:
    seen: set[str] = set()
    for output in (output for job in jobs for output in job.outputs):
        if output.name in seen:
            raise InputError(f"two tensors of the result would be named {output.name}")
        seen.add(output.name)
