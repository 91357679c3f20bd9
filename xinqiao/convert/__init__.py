"""Checkpoints between number formats: exactly, or with the error stated.

`convert` writes a folder of safetensors shards in another format and a manifest that says of every weight whether it is
exact, or how far off; `verify` reads it all again. Neither needs PyTorch where there is a C++ compiler.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from xinqiao.convert.manifest import Manifest
from xinqiao.convert.plan import Request
from xinqiao.convert.progress import shown
from xinqiao.convert.run import Conversion, prepare
from xinqiao.convert.run import convert as _convert
from xinqiao.convert.show import tame
from xinqiao.convert.source import open_checkpoint
from xinqiao.convert.spread import convert_on_ranks, convert_on_ray, ranks
from xinqiao.convert.verify import Verification
from xinqiao.convert.verify import verify as _verify
from xinqiao.errors import InputError

__all__ = ["Conversion", "Manifest", "Request", "Verification", "convert", "planned", "source_config", "verify"]


def source_config(model: Path) -> dict[str, Any]:
    """The config.json of a folder of safetensors files; {} of anything else. InputError for a damaged source."""
    if not any(model.glob("*.safetensors")):
        return {}
    return open_checkpoint(model, allow_pickle=False, scratch=None).config


@contextmanager
def planned(model: Path, request: Request, out: Path, *, allow_pickle: bool = False) -> Iterator[Conversion]:
    """What `convert` would do; `out` is not touched. InputError for what is wrong with the source or the request."""
    with tempfile.TemporaryDirectory(prefix="xinqiao-") if allow_pickle else nullcontext() as scratch:
        place = Path(scratch) if scratch else None
        conversion = prepare(model, request, out, allow_pickle=allow_pickle, scratch=place)
        for warning in conversion.checkpoint.warnings:
            print(f"xinqiao: {tame(warning)}", file=sys.stderr)
        yield conversion


def convert(
    model: Path,
    request: Request,
    out: Path,
    *,
    threads: int | None = None,
    allow_pickle: bool = False,
    ray: str | None = None,
) -> Manifest | None:
    """Convert the checkpoint `model` into the folder `out`, or go on where a killed run of the same request was.

    threads: weights at a time; None: one for each processor. ray: the address of a Ray cluster that does the work, each
    worker reading `model` and writing `out` by these paths; 'local' starts one here. Under torchrun the ranks share the
    work, and only rank 0 returns the manifest. InputError for a source, request or folder that cannot be used.
    """
    if ray and allow_pickle:
        raise InputError("--ray: workers do not read PyTorch's files; convert to bf16 without it first")
    threads = threads or len(os.sched_getaffinity(0))
    here = ranks()
    with (
        planned(model, request, out, allow_pickle=allow_pickle) as conversion,
        shown("converting", conversion.bytes_to_read) as progress,
    ):
        if ray:
            return convert_on_ray(conversion, model, ray, threads=threads, progress=progress)
        if here.world > 1:
            return convert_on_ranks(conversion, here, threads=threads, progress=progress)
        return _convert(conversion, threads=threads, progress=progress)


def verify(
    folder: Path, source: Path | None = None, *, threads: int | None = None, allow_pickle: bool = False
) -> Verification:
    """Read `folder` again: every byte against its manifest and, with `source`, every value against that.

    A folder without a manifest, made by another tool, can be checked against its source only: a weight further off than
    its format's rounding explains is a finding. InputError where there is nothing to check against.
    """
    total = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    with tempfile.TemporaryDirectory(prefix="xinqiao-") as scratch, shown("verifying", total) as progress:
        before = open_checkpoint(source, allow_pickle=allow_pickle, scratch=Path(scratch)) if source else None
        return _verify(folder, before, threads=threads or len(os.sched_getaffinity(0)), progress=progress)
