"""Files that cannot be read are left as they are.

What it does: reads a project, and reports once every file that is not Python 3, cannot be decoded or cannot be opened.
Why: a file that nobody looked at may hold CUDA-bound code.
Unsafe when: never seen.
Source: Python's language reference, lexical analysis: encoding declarations.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from xinqiao.port import manifest, other_files
from xinqiao.port.collect import facts_of
from xinqiao.port.engine import Ported, port_source
from xinqiao.port.flow import together
from xinqiao.port.outcome import UNREAD, record_of
from xinqiao.port.source import Source, parse
from xinqiao.port.target import Target
from xinqiao.port.words import WORTH_PARSING
from xinqiao.record.schema import Occurrence, PortRecord

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


def analyse(project: Path, target: Target) -> Result:
    begun = time.monotonic()
    lines = 0
    paths: list[str] = []
    ported: list[Ported] = []
    sources: list[Source] = []
    before: dict[str, bytes] = {}
    for file in _files(project):
        paths.append(file.path)
        if file.data is None:
            ported.append(Ported(file.path, [_unread(file.path, file.problem)]))
            continue
        lines += file.data.count(b"\n")
        if not WORTH_PARSING.search(file.data):
            continue
        if file.path.endswith(".py"):
            source = _parsed(file, target, ported)
            if source is not None:
                sources.append(source)
                before[file.path] = file.data
        else:
            found = other_files.occurrences(file.path, file.data.decode("utf-8", "replace"))
            ported.append(Ported(file.path, found))
    known = together(facts_of(s) for s in sources)
    ported += [port_source(replace(s, project=known)) for s in sources]
    record = record_of(target, paths, ported, lines, time.monotonic() - begun)
    return Result(record, ported, before)


def _parsed(file: File, target: Target, ported: list[Ported]) -> Source | None:
    assert file.data is not None
    try:
        return parse(file.path, file.data, target)
    except (SyntaxError, ValueError, RecursionError, LookupError) as error:  # ValueError: undecodable, or a NUL
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else str(error)
        ported.append(Ported(file.path, [_unread(file.path, f"not Python 3 ({where}); it is left as it is")]))
        return None


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
            if not (name.endswith(".py") or other_files.is_looked_at(path)):
                continue
            if full.is_symlink():
                continue  # its target is looked at where it lies
            yield _read(full, path)


def _read(full: Path, path: str) -> File:
    try:
        return File(path, full.read_bytes())
    except OSError as error:
        return File(path, None, f"cannot be read ({error.strerror})")
