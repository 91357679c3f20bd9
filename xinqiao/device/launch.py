"""`xinqiao run`: a program, unchanged, in processes of its own whose accelerator is the chip."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from xinqiao.chips import catalog
from xinqiao.device.settings import Settings
from xinqiao.errors import InputError
from xinqiao.record.files import read, write
from xinqiao.record.schema import RunRecord


def launch(settings: Settings, script: Path, arguments: list[str], *, ranks: int = 1) -> int:
    """Run `script` with `arguments` on the chip; its output passes through. Returns its exit code.

    ranks   processes to start, as torchrun does, each with its own device
    """
    catalog.load(settings.chip)
    if not script.is_file():
        raise InputError(f"{script}: no such script; `xinqiao run --chip NAME -- SCRIPT ARGUMENTS`")
    for file in (settings.record, settings.trace):
        if file is not None and not file.absolute().parent.is_dir():
            raise InputError(f"{file}: its folder does not exist")
    many = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    for file in (settings.record, settings.trace):
        if file is not None:
            file.unlink(missing_ok=True)  # an old one would pass for this run's
    command = [sys.executable, *many, str(script), *arguments]
    done = subprocess.run(command, env={**os.environ, **settings.environment()}, check=False)
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    if settings.record:
        _note_exit_code(settings.record, code)
    return code


def _note_exit_code(path: Path, code: int) -> None:
    if path.exists():
        record = read(path)
        if isinstance(record, RunRecord) and record.exit_code != code:
            write(msgspec.structs.replace(record, exit_code=code), path)
