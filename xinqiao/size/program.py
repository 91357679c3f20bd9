"""The answer about a program: traced once on the virtual chip, one device, no plan of its own."""

import sys
import tempfile
from pathlib import Path

from xinqiao.chips import catalog
from xinqiao.chips.performance import FORMATS
from xinqiao.chips.spec import Chip
from xinqiao.cost import software
from xinqiao.cost.price import Price, interval
from xinqiao.cost.roofline import unknown_figures
from xinqiao.cost.time import Time
from xinqiao.record.schema import OperatorRow
from xinqiao.size.answer import Answer, Fits, Row
from xinqiao.size.plan import Formats, Plan
from xinqiao.size.telling import energy, limits, roofs
from xinqiao.size.traced import Traced, trace

STACK = "eager"  # PyTorch as the program is written


def program(script: Path, arguments: list[str], name: str) -> Answer:
    """InputError where the program fails, or computes on the host alone. What it prints goes to stderr."""
    chip = catalog.load(name)
    with tempfile.TemporaryDirectory(prefix="xinqiao-") as folder:
        log = Path(folder) / "log"
        try:
            traced = trace(script, arguments, name, log=log)
        finally:
            if log.exists():
                sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
    return _answer(script.name, chip, traced)


def _answer(script: str, chip: Chip, traced: Traced) -> Answer:
    price, device = Price(chip, software.load(STACK)), chip.per_device()
    time = Time(**traced.by_bound(), host=traced.host)
    form = _main_format(traced.operators)
    known = traced.memory.capacity is not None
    missing = unknown_figures(chip, sorted({row.dtype for row in traced.operators if row.flops}))
    return Answer(
        model=script,
        chip=chip.name,
        title=chip.title,
        phase="program",
        chips=1,
        devices=1,
        plan=Plan(),
        formats=Formats(form, "", form, form, "", form),
        software=price.software.title,
        memory=Fits(
            {part: float(size) for part, size in traced.memory.parts.items()},
            float(traced.memory.peak),
            traced.memory.capacity and float(traced.memory.capacity),
            True if known else None,  # a program that does not fit has ended with an error
        ),
        batch_per_chip=1.0,
        roofs=roofs(chip),
        bandwidth=device.bandwidth,
        program_seconds=None if missing else interval(time.seconds, price.spread(time)),
        limits=() if missing else limits(time),
        by_operator=tuple(_row(row) for row in traced.operators),
        assumptions=(
            f"software: {price.software.title} ({price.software.source})",
            "one device; every kernel that the program launched, from its start to its end",
            *traced.caveats,
        ),
        unknown=tuple(f"{what} of {chip.title}" for what in missing),
    )


def _main_format(rows: list[OperatorRow]) -> str:
    """That most arithmetic is in."""
    return FORMATS.get(max(rows, key=lambda row: row.flops).dtype, "fp32")


def _row(row: OperatorRow) -> Row:
    name, level = row.operator.removeprefix("aten::"), "curve" if row.kind == "gemm" else "roofline"
    form = FORMATS.get(row.dtype, "") if row.flops else ""
    return Row(name, row.kind, row.seconds, row.bound, level, row.flops, row.bytes, form, energy(row.bound, form))
