"""Files that cannot be read are left as they are.

What it does: reads a project, and reports once every file that is not Python 3, cannot be decoded or cannot be opened.
Why: a file that nobody looked at may hold CUDA-bound code.
Unsafe when: never seen.
Source: Python's language reference, lexical analysis: encoding declarations.
"""

import gc
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from xinqiao.port import manifest
from xinqiao.port.collect import facts_of
from xinqiao.port.cuda_source import exported, is_device_source
from xinqiao.port.engine import Ported, port_source
from xinqiao.port.facts import Facts
from xinqiao.port.files import is_looked_at
from xinqiao.port.files import port_file as port_other_file
from xinqiao.port.flow import together
from xinqiao.port.kernel_files import port_kernel_file
from xinqiao.port.known import Known
from xinqiao.port.outcome import UNREAD, record_of
from xinqiao.port.source import parse
from xinqiao.port.spread import spread
from xinqiao.port.surroundings import Surroundings, look_around
from xinqiao.port.target import Target
from xinqiao.port.words import is_worth_knowing, is_worth_parsing
from xinqiao.record.schema import Occurrence, PortRecord

GENERATED = (
    b'"""Written by `xinqiao port',
    b"# Written by `xinqiao port`",
)  # how a file begins that a port adds: it is right as it is
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
    manifest.FOLDER,
    manifest.PART,
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


@contextmanager
def _without_collection() -> Iterator[None]:
    """Trees are large and have no cycles: looking for some takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_without_collection()
def analyse(project: Path, target: Target) -> Result:
    """Every CUDA-bound place, with what a port writes instead."""
    begun = time.monotonic()
    files = list(_files(project))
    python = [f for f in files if f.path.endswith(".py") and f.data is not None]
    size = sum(len(f.data or b"") for f in python)
    telling = [f for f in python if is_worth_knowing(f.data or b"")]
    known = together(f for f in spread(partial(_facts, target), telling, size) if f is not None)
    around = look_around((f.path, f.data) for f in files if f.data is not None)
    launching = {site.rpartition(":")[0] for sites in around.sites.values() for site in sites}
    bound = [f for f in python if f.path in launching or is_worth_parsing(f.data or b"")]
    bound = [f for f in bound if not (f.data or b"").startswith(GENERATED)]
    ported = spread(partial(_ported, known, around, target), bound, size) + list(_others(files, around, target))
    ported += _added(ported, {f.path for f in files})
    lines = sum(f.data.count(b"\n") for f in files if f.data is not None)
    record = record_of(target, (f.path for f in files), ported, lines, time.monotonic() - begun)
    changed = {p.path for p in ported if p.data is not None}
    return Result(record, ported, {f.path: f.data for f in files if f.data is not None and f.path in changed})


def _added(ported: Iterable[Ported], there: set[str]) -> list[Ported]:
    """New files. One that is there already stays: a person may have written in it."""
    texts = {a.path: a.text for p in ported for a in sorted(p.adds)}
    return [Ported(path, data=text.encode()) for path, text in sorted(texts.items()) if path not in there]


@_without_collection()
def port_file(file: File, target: Target) -> Ported:
    """One Python file by itself."""
    return _ported(Known(), look_around([(file.path, file.data or b"")]), target, file)


def _facts(target: Target, file: File) -> Facts | None:
    """None for what is not Python 3; the second look says so."""
    assert file.data is not None
    if len(file.data) > TOO_LARGE or file.data.startswith(GENERATED):
        return None
    try:
        source = parse(file.path, file.data, target)
    except _NOT_READABLE:
        return None
    try:
        return facts_of(source)
    except RecursionError:
        return None


def _ported(known: Known, around: Surroundings, target: Target, file: File) -> Ported:
    assert file.data is not None
    if len(file.data) > TOO_LARGE:
        reason = f"over {TOO_LARGE // 1_000_000} MB, most likely generated: port what generates it; it is left as it is"
        return Ported(file.path, [_unread(file.path, reason)])
    try:
        source = parse(file.path, file.data, target)
    except _NOT_READABLE as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        return Ported(file.path, [_unread(file.path, f"not Python 3 ({where}); it is left as it is")])
    source.know(known)
    source.around = around
    try:
        return port_source(source)
    except RecursionError:
        return Ported(file.path, [_unread(file.path, "nested too deeply to be read; it is left as it is")])


def _others(files: Iterable[File], around: Surroundings, target: Target) -> Iterator[Ported]:
    for file in files:
        if file.data is None:
            yield Ported(file.path, [_unread(file.path, file.problem)])
        elif PurePosixPath(file.path).suffix in (".cu", ".cuh"):
            yield port_kernel_file(file.path, file.data, around)
        elif not file.path.endswith(".py"):
            ported = port_other_file(file.path, file.data, target)
            if is_device_source(file.path) and exported(file.data.decode("utf-8", "replace")):
                kernels = port_kernel_file(file.path, file.data, around)
                ported.occurrences += kernels.occurrences
                ported.adds |= kernels.adds
            yield ported


def _unread(path: str, reason: str) -> Occurrence:
    return Occurrence(
        file=path, line=1, column=1, end_line=1, end_column=1, rule=UNREAD, verdict="needs-you", before="", after="",
        reason=reason,
    )  # fmt: skip


def _files(project: Path) -> Iterator[File]:
    if not project.is_dir():
        yield _read(project, project.name)
        return
    for folder, names, files in os.walk(project):
        names[:] = sorted(n for n in names if n not in NOT_OURS and not n.endswith(".egg-info"))
        for name in sorted(files):
            full = Path(folder, name)
            path = full.relative_to(project).as_posix()
            if not (name.endswith(".py") or is_looked_at(path)):
                continue
            if full.is_symlink():
                continue  # its target is looked at where it lies
            yield _read(full, path)


def _read(full: Path, path: str) -> File:
    try:
        return File(path, full.read_bytes())
    except OSError as error:
        return File(path, None, f"cannot be read ({error.strerror})")
