"""A table of kernels measured on one device, and the chip that it describes by itself."""

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from xinqiao.chips.figures import Bandwidth, Capacity, Duration, Figure, Peak
from xinqiao.chips.performance import Compute, Memory
from xinqiao.chips.spec import Chip, Torch
from xinqiao.errors import InputError

SCHEMA: Final = 1
SIZES = {  # kind of a row -> what its shape lists
    "gemm": ("m", "n", "k"),  # [m, k] × [n, k] transposed, as a linear layer has it
    "grouped_gemm": ("m", "n", "k", "groups"),  # of every group
    "prefill_attention": ("sequences", "length", "heads", "kv_heads", "head_dim"),  # causal
    "decode_attention": ("sequences", "keys", "heads", "kv_heads", "head_dim"),  # one query a sequence
    "elementwise": ("numbers", "passes"),  # passes: times that so many numbers are read or written
    "norm": ("rows", "width"),  # the residual's addition and RMSNorm
    "embedding": ("tokens", "width"),
    "copy": ("bytes",),  # read, and as many written
    "launch": ("numbers",),  # an operator too small to take any time of its own
}
Kind = Literal[
    "gemm",
    "grouped_gemm",
    "prefill_attention",
    "decode_attention",
    "elementwise",
    "norm",
    "embedding",
    "copy",
    "launch",
]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kernel. seconds: the median of `repeats`; spread: median absolute deviation of their logarithms."""

    kind: Kind
    format: str  # a key of `compute` of a chip
    shape: tuple[Count, ...]  # see SIZES
    seconds: Positive
    spread: float
    repeats: Count

    def __post_init__(self) -> None:
        """ValueError for a shape with too few or too many sizes, or a format that there is not."""
        if len(self.shape) != len(SIZES[self.kind]):
            raise ValueError(f"shape: {self.kind} has {', '.join(SIZES[self.kind])}; this one has {len(self.shape)}")
        if self.format not in Compute.__struct_fields__:
            raise ValueError(f"format: '{self.format}' is not one of {', '.join(Compute.__struct_fields__)}")


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of one device, and what they were measured with. `calibrate` writes it; everything in it is measured."""

    schema: Literal[1]
    device: str  # PyTorch's name: 'npu'
    name: str  # of the device, as its driver says it
    capacity: Positive  # bytes of its memory
    torch: str  # version
    package: str = ""  # of the vendor, beside PyTorch, and its version
    package_version: str = ""
    date: str  # ISO 8601, UTC
    threads: Count
    host: str  # the host's processor
    clock: Literal["event", "thread", "wall"]  # the device's events; processor time of one thread; time
    row: tuple[Row, ...]

    def __post_init__(self) -> None:
        """ValueError for a table without rows."""
        if not self.row:
            raise ValueError("row: the table has none")


def is_table(data: dict[str, Any]) -> bool:
    """Whether a parsed .toml file is a table, and not a chip."""
    return "schema" in data and "row" in data


def read(path: Path) -> Table:
    """InputError '<file>: <what is wrong>' for a file that is not there or is no table."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); `xinqiao calibrate --out` writes one") from error


@cache
def _read(path: Path, _changed: int) -> Table:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Table)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: not a table of `xinqiao calibrate`: {error}") from error


def text(table: Table) -> str:
    """TOML, one line a row."""
    head = {key: getattr(table, key) for key in Table.__struct_fields__ if key != "row"}
    lines = [
        "# Written by `xinqiao calibrate`: kernels measured on one device. A chip by itself, or `calibration` of one."
    ]
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    return "\n".join([*lines, "row = [", *map(_line, table.row), "]", ""])


def _line(row: Row) -> str:
    return (
        f'    {{ kind = "{row.kind}", format = "{row.format}", shape = {list(row.shape)}, seconds = {row.seconds:.5g}, '
        f"spread = {row.spread:.4g}, repeats = {row.repeats} }},"
    )


def chip_of(table: Table, path: Path) -> Chip:
    """A chip from a table alone; what was not measured is unknown."""
    bare = Chip(
        name=path.stem,
        title=f"{table.name} (measured)",
        vendor="vendor not recorded",
        status="shipping",
        calibration=str(path.resolve()),
        torch=Torch(
            device=table.device,
            package=table.package,
            collective="gloo" if table.device == "cpu" else "",
            device_name=table.name,
            server_devices=1,
            confidence="measured",
            source=_source(table, path),
        ),
    )
    return completed(bare, table, path)


def completed(chip: Chip, table: Table, path: Path) -> Chip:
    """`chip` with the measured figure where it knows none, or one with sparsity only; what it states stays."""
    source, devices = _source(table, path), chip.torch.devices_per_package
    return msgspec.structs.replace(
        chip,
        compute=_filled(chip.compute, {f: p for f, p in _peaks(table, source, devices).items() if f not in chip.lacks}),
        memory=_filled(chip.memory, _memory(table, source, devices)),
        launch=chip.launch if chip.launch.known else _launch(table, source),
    )


def _source(table: Table, path: Path) -> str:
    return f"{path.name}: `xinqiao calibrate` on {table.name}, {table.date[:10]}, PyTorch {table.torch}"


Filled = TypeVar("Filled", Compute, Memory)


def _filled(figures: Filled, measured: Mapping[str, Figure]) -> Filled:
    def lacking(figure: Figure) -> bool:
        return not figure.known or figure.dense is False

    return msgspec.structs.replace(
        figures, **{key: figure for key, figure in measured.items() if lacking(getattr(figures, key))}
    )


def _peaks(table: Table, source: str, devices: int) -> dict[str, Figure]:
    """The fastest GEMM of each format."""
    rates: dict[str, float] = {}
    for row in table.row:
        if row.kind == "gemm":
            rates[row.format] = max(rates.get(row.format, 0.0), 2 * prod(row.shape) / row.seconds)
    return {
        form: Peak(
            value=_rounded(rate * devices / 1e12),
            unit="TOPS" if form.startswith("int") else "TFLOPS",
            dense=True,
            confidence="measured",
            source=source,
            note="the fastest GEMM",
        )
        for form, rate in rates.items()
    }


def _memory(table: Table, source: str, devices: int) -> dict[str, Figure]:
    """Capacity, and the rate of the largest copy, which is read and written."""
    size = _rounded(table.capacity * devices / 1e9)
    found: dict[str, Figure] = {"capacity": Capacity(value=size, unit="GB", confidence="measured", source=source)}
    copies = [row for row in table.row if row.kind == "copy"]
    if copies:
        largest = max(copies, key=lambda row: row.shape)
        rate = _rounded(2 * largest.shape[0] / largest.seconds * devices / 1e9)
        found["bandwidth"] = Bandwidth(value=rate, unit="GB/s", confidence="measured", source=source, note="a copy")
    return found


def _launch(table: Table, source: str) -> Duration:
    launches = [row.seconds for row in table.row if row.kind == "launch"]
    if not launches:
        return Duration()
    return Duration(value=_rounded(min(launches) * 1e6), unit="us", confidence="measured", source=source)


def _rounded(number: float) -> float:
    """To four digits: more were never measured."""
    return float(f"{number:.4g}")
