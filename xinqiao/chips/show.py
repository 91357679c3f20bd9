"""Chips as plain data for JSON, and as tables for people. A figure is never shown without its source."""

from typing import TYPE_CHECKING, Any

import msgspec

from xinqiao.chips.catalog import all_chips, problems
from xinqiao.chips.figures import Figure
from xinqiao.chips.performance import FORMATS, Links
from xinqiao.chips.spec import Chip

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SCHEMA = 1


def catalogue_rows() -> dict[str, Any]:
    """{'schema': 1, 'chips': [a row each], 'problems': [what is wrong with plug-ins]}; figures as text."""
    return {"schema": SCHEMA, "chips": [_row(chip) for chip in all_chips()], "problems": problems()}


def _sixteen_bit(chip: Chip) -> Figure:
    return chip.compute.fp16 if chip.compute.fp16.known else chip.compute.bf16


def _eight_bit(chip: Chip) -> Figure:
    return chip.compute.fp8 if chip.compute.fp8.known else chip.compute.int8


def _row(chip: Chip) -> dict[str, str]:
    return {
        "name": chip.name,
        "title": chip.title,
        "status": chip.status,
        "device": chip.torch.device,
        "16_bit": str(_sixteen_bit(chip)),
        "8_bit": str(_eight_bit(chip)),
        "memory": str(chip.memory.capacity),
        "bandwidth": str(chip.memory.bandwidth),
    }


def describe(chip: Chip) -> dict[str, Any]:
    """Everything in the chip's file, and what one PyTorch device gets of it, in SI units; null is unknown."""
    device = chip.per_device()
    return {
        "schema": SCHEMA,
        **msgspec.to_builtins(chip),
        "per_device": {
            "peaks": {dtype: {"value": device.peak(dtype), "why": device.why(dtype)} for dtype in FORMATS},
            "capacity": device.capacity,
            "bandwidth": device.bandwidth,
            **{name: getattr(device, name) for name in Links.__struct_fields__},
            "launch": device.launch,
        },
    }


def figures(chip: Chip) -> list[tuple[str, Figure]]:
    """(key path, figure) of every figure, unknown ones too, but not of formats that the chip lacks."""
    tables = {"compute": chip.compute, "memory": chip.memory, "links": chip.links}
    rows = [
        (f"{name}.{key}", getattr(table, key))
        for name, table in tables.items()
        for key in table.__struct_fields__
        if not (name == "compute" and key in chip.lacks)
    ]
    return [*rows, ("power", chip.power), ("launch", chip.launch)]


def print_catalogue(console: "Console") -> None:
    """One line a chip; the units are in the heads, and '?' is what no source states."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("name", "device"):
        table.add_column(head, no_wrap=True)
    for head in ("16 bit\nTFLOPS", "8 bit\nT(FL)OPS", "memory", "TB/s"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for chip in all_chips():
        half, eight, memory = _sixteen_bit(chip), _eight_bit(chip), chip.memory
        capacity = str(memory.capacity) if memory.capacity.known else "?"
        numbers = (_scaled(half, 1e12), _scaled(eight, 1e12), capacity, _scaled(memory.bandwidth, 1e12))
        table.add_row(*map(_text, (chip.name, chip.torch.device, *numbers, chip.status)))
    console.print(table)
    _line(console, "Dense peaks of one package. `xinqiao chips NAME` shows every figure with its source.")


def _scaled(figure: Figure, unit: float) -> str:
    """'752', '100-200' or '?'."""
    if figure.interval is None:
        return "?"
    low, high = (f"{end / unit:.4g}" for end in figure.interval)
    return low if low == high else f"{low}-{high}"


def print_chip(chip: Chip, console: "Console") -> None:
    """Every figure with its confidence and source, then what the software does, then the claims rejected."""
    _line(console, f"{chip.name}: {chip.title}, {chip.vendor}, {chip.status}")
    for comment in chip.comments:
        _line(console, comment)
    _line(console, "")
    for key, figure in figures(chip):
        if figure.known:
            source = "; ".join(part for part in (figure.source, figure.note) if part)
            _line(console, f"{key:17}  {figure!s:22}  {figure.confidence:9}  {source}")
    unknown = [f"{key} ({figure.note})" if figure.note else key for key, figure in figures(chip) if not figure.known]
    _line(console, f"unknown: {', '.join(unknown) or 'nothing'}\n")
    lines = {
        "lacks": ", ".join(chip.lacks),
        "native formats": ", ".join(chip.formats),
        "process": chip.process,
        "PyTorch": _torch_line(chip),
        "torch.cuda": _cuda_line(chip),
        "operators": _software_line(chip),
        "dtypes": _dtypes_line(chip),
    }
    for key, text in lines.items():
        if text:
            _line(console, f"{key}: {text}")
    for claim in chip.rejected:
        source = f" ({claim.source})" if claim.source else ""
        _line(console, f"rejected: {claim.claim}: {claim.reason}{source}")


def _torch_line(chip: Chip) -> str:
    torch = chip.torch
    dies = f"{torch.devices_per_package} devices a package, " if torch.devices_per_package > 1 else ""
    names = ", ".join(name for name in (torch.device, torch.package, torch.collective) if name)
    return f"{names}; {dies}{torch.server_devices} devices a server; {torch.confidence} ({torch.source})"


def _cuda_line(chip: Chip) -> str:
    if chip.cuda is None:
        return ""
    given = {key: value for key, value in msgspec.to_builtins(chip.cuda).items() if value not in (None, "", [], ())}
    source, confidence = given.pop("source"), given.pop("confidence")
    facts = ", ".join(f"{key} {value}" for key, value in given.items()) or "unknown"
    return f"{facts}; {confidence} ({source})"


def _software_line(chip: Chip) -> str:
    software = chip.software
    if not software.operators:
        return "unknown: no operator list"
    return (
        f"table {software.operators}; an operator without kernel: {software.unsupported_operator}; "
        f"a dtype that a kernel lacks: {software.unsupported_dtype} ({software.source})"
    )


def _dtypes_line(chip: Chip) -> str:
    states = {"native": chip.dtypes.native, "partial": chip.dtypes.partial, "refused": chip.dtypes.refused}
    said = "; ".join(f"{state} {', '.join(dtypes)}" for state, dtypes in states.items() if dtypes)
    return f"{said} ({chip.dtypes.source})" if said else "unknown"


def _text(text: str) -> "Text":
    """Text that rich prints as it is, whatever brackets it has."""
    from rich.text import Text

    return Text(text)


def _line(console: "Console", text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
