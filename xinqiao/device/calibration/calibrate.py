"""`xinqiao calibrate`: a device measured, and written down."""

import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from xinqiao.chips.table import SCHEMA, Table, chip_of, text
from xinqiao.device.calibration.machine import host, machine
from xinqiao.device.calibration.run import Progress, measure
from xinqiao.errors import InputError

SAY_EVERY = 10.0  # seconds


def calibrate(device: str, out: Path, minutes: float, progress: Progress | None = None) -> Table:
    """Measure `device` for about `minutes` and write the table; interrupted, it holds what was measured until then.

    progress: called after every sample; None: a line every ten seconds says how far it is.
    InputError where there is no such device, where it is a virtual one, or where `out` cannot be written.
    """
    if out.suffix != ".toml":
        raise InputError(f"--out {out}: name a .toml file, which then is a chip for --chip")
    found = machine(device)
    partial = _room_for(out)
    try:
        rows = measure(found, minutes * 60, progress or _say())
        if not rows:
            raise InputError(
                f"--device {device}: nothing was measured; let it run longer, or see whether PyTorch works there"
            )
        table = Table(
            schema=SCHEMA,
            device=found.device,
            name=found.name,
            capacity=found.capacity,
            torch=str(torch.__version__),
            package=found.package,
            package_version=found.package_version,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            threads=torch.get_num_threads(),
            host=f"{host()}, {platform.system()}",
            clock=found.clock_name,
            row=tuple(rows),
        )
        partial.write_text(text(table), encoding="utf-8")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return table


def _room_for(out: Path) -> Path:
    """The file beside `out` that becomes it. Made before anything is measured, so that no minute is lost."""
    partial = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error
    return partial


def _say() -> Progress:
    last = time.monotonic()

    def say(kernels: int, samples: int) -> None:
        nonlocal last
        if time.monotonic() - last > SAY_EVERY:
            last = time.monotonic()
            print(f"xinqiao: {kernels} kernels, {samples} samples", file=sys.stderr)

    return say


def summary(table: Table, path: Path) -> str:
    """What was measured, in a few lines."""
    chip = chip_of(table, path)
    peaks = {form: getattr(chip.compute, form) for form in chip.compute.__struct_fields__}
    figures = [f"{form} {figure}" for form, figure in peaks.items() if figure.known]
    figures += [f"memory {chip.memory.bandwidth}", f"launch {chip.launch}"]
    return f"{path}: {len(table.row)} kernels of {table.name}, {table.clock} clock\n{'; '.join(figures)}"
