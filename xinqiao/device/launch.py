"""`xinqiao run`: a program, unchanged, in processes of its own whose accelerator is the chip."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import msgspec

from xinqiao.chips import catalog
from xinqiao.device.settings import Settings
from xinqiao.errors import InputError
from xinqiao.record.files import read, write
from xinqiao.record.schema import RunRecord


def launch(
    settings: Settings,
    script: Path,
    arguments: list[str],
    *,
    ranks: int = 1,
    folder: Path | None = None,
    log: Path | None = None,
) -> int:
    """Run `script` with `arguments` on the chip. Returns its exit code.

    ranks    processes to start, as torchrun does, each with its own device
    folder   where it runs, and what `script` is relative to; None: here
    log      where its output goes; None: it passes through
    """
    catalog.load(settings.chip)
    if not ((folder or Path()) / script).is_file():
        raise InputError(
            f"{(folder or Path()) / script}: no such script; `xinqiao run --chip NAME -- SCRIPT ARGUMENTS`"
        )
    kept = [path for path in (settings.record, settings.trace) if path is not None]
    for path in kept:
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path}: its folder does not exist")
    many = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    for path in kept:
        path.unlink(missing_ok=True)  # an old one would pass for this run's
    command = [sys.executable, *many, str(script), *arguments]
    with log.open("wb") if log else nullcontext() as output:
        environment = {**os.environ, **settings.environment()}
        done = subprocess.run(
            command, env=environment, check=False, cwd=folder, stdout=output, stderr=output and subprocess.STDOUT
        )
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    if settings.record:
        _note_exit_code(settings.record, code)
    return code


def _note_exit_code(path: Path, code: int) -> None:
    if path.exists():
        record = read(path)
        if isinstance(record, RunRecord) and record.exit_code != code:
            write(msgspec.structs.replace(record, exit_code=code), path)
