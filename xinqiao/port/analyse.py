"""Read a project: find its files, learn what they know of each other, run the rules over them. Nothing is written."""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xinqiao.errors import InputError
from xinqiao.port import manifest
from xinqiao.port.collect import facts_of
from xinqiao.port.engine import Ported, port_source
from xinqiao.port.facts import Facts
from xinqiao.port.files import is_looked_at, port_file
from xinqiao.port.flow import together
from xinqiao.port.known import Known
from xinqiao.port.source import parse
from xinqiao.port.spread import spread
from xinqiao.port.target import Target
from xinqiao.port.words import WORTH_KNOWING, WORTH_PARSING
from xinqiao.record.schema import Occurrence, PortRecord

TOO_LARGE = 2_000_000  # bytes of one file
# ValueError: undecodable, or a NUL. MemoryError: Python's parser has no room left on its stack.
_NOT_READABLE = (SyntaxError, ValueError, LookupError, RecursionError, MemoryError)
NOT_OURS = {
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    ".tox",
    "node_modules",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
}


@dataclass(frozen=True)
class File:
    """A file of the project: its path relative to it, and its bytes; None where they cannot be read."""

    path: str
    data: bytes | None
    problem: str = ""


@dataclass
class Result:
    record: PortRecord
    ported: list[Ported]
    before: dict[str, bytes]  # of the files that change


def analyse(project: Path, target: Target) -> Result:
    """Every CUDA-bound place, with what a port writes instead."""
    if not project.is_dir():
        raise InputError(f"{project}: no such folder; `xinqiao port PROJECT --chip NAME --out DIR`")
    begun = time.monotonic()
    files = list(_files(project))
    python = [f for f in files if f.path.endswith(".py") and f.data is not None]
    size = sum(len(f.data or b"") for f in python)
    telling = [f for f in python if WORTH_KNOWING.search(f.data or b"")]
    known = together(f for f in spread(partial(_facts, target), telling, size) if f is not None)
    bound = [f for f in python if WORTH_PARSING.search(f.data or b"")]
    ported = spread(partial(_ported, known, target), bound, size) + list(_others(files, target))
    occurrences = sorted((o for p in ported for o in p.occurrences), key=lambda o: (o.file, o.line, o.column))
    record = PortRecord(
        chip=target.chip.name,
        title=target.chip.title,
        style=target.style,
        files=len(files),
        lines=sum(f.data.count(b"\n") for f in files if f.data is not None),
        changed=sum(p.data is not None for p in ported),
        wall_seconds=time.monotonic() - begun,
        occurrences=occurrences,
    )
    return Result(record, ported, {f.path: f.data for f in files if f.data is not None})


def _facts(target: Target, file: File) -> Facts | None:
    """None for what is not Python 3; the second look says so."""
    assert file.data is not None
    if len(file.data) > TOO_LARGE:
        return None
    try:
        source = parse(file.path, file.data, target)
    except _NOT_READABLE:
        return None
    try:
        return facts_of(source)
    except RecursionError:
        return None


def _ported(known: Known, target: Target, file: File) -> Ported:
    assert file.data is not None
    if len(file.data) > TOO_LARGE:
        reason = f"over {TOO_LARGE // 1_000_000} MB, most likely generated: port what generates it; it is left as it is"
        return Ported(file.path, [_unread(file.path, reason)])
    try:
        source = parse(file.path, file.data, target)
    except _NOT_READABLE as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        return Ported(file.path, [_unread(file.path, f"not Python 3 ({where}); it is left as it is")])
    source.project = known
    try:
        return port_source(source)
    except RecursionError:
        return Ported(file.path, [_unread(file.path, "nested too deeply to be read; it is left as it is")])


def _others(files: Iterable[File], target: Target) -> Iterator[Ported]:
    for file in files:
        if file.data is None:
            yield Ported(file.path, [_unread(file.path, file.problem)])
        elif not file.path.endswith(".py"):
            yield port_file(file.path, file.data, target)


def _unread(path: str, reason: str) -> Occurrence:
    return Occurrence(
        file=path, line=1, column=1, end_line=1, end_column=1, rule="files", verdict="needs-you", before="", after="",
        reason=reason,
    )  # fmt: skip


def _files(project: Path) -> Iterator[File]:
    for folder, names, files in os.walk(project):
        names[:] = sorted(n for n in names if n not in NOT_OURS and not n.endswith(".egg-info"))
        for name in sorted(files):
            full = Path(folder, name)
            path = full.relative_to(project).as_posix()
            if name == manifest.NAME or not (name.endswith(".py") or is_looked_at(path)):
                continue
            if full.is_symlink():
                continue  # its target is looked at where it lies
            try:
                yield File(path, full.read_bytes())
            except OSError as error:
                yield File(path, None, f"cannot be read ({error.strerror})")
