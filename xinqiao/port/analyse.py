"""Read a project: find its files, learn what they know of each other, run the rules over them. Nothing is written."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from xinqiao.errors import InputError
from xinqiao.port import manifest, other_files
from xinqiao.port.collect import facts_of
from xinqiao.port.engine import Ported, port_source
from xinqiao.port.flow import together
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
    if not project.is_dir():
        raise InputError(f"{project}: no such folder; `xinqiao port PROJECT --chip NAME --out DIR`")
    begun = time.monotonic()
    count, lines = 0, 0
    ported: list[Ported] = []
    sources: list[Source] = []
    before: dict[str, bytes] = {}
    for file in _files(project):
        count += 1
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
    occurrences = sorted((o for p in ported for o in p.occurrences), key=lambda o: (o.file, o.line, o.column))
    record = PortRecord(
        chip=target.chip.name,
        title=target.chip.title,
        style=target.style,
        files=count,
        lines=lines,
        changed=sum(p.data is not None for p in ported),
        wall_seconds=time.monotonic() - begun,
        occurrences=occurrences,
    )
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
        file=path, line=1, column=1, end_line=1, end_column=1, rule="files", verdict="needs-you", before="", after="",
        reason=reason,
    )  # fmt: skip


def _files(project: Path) -> Iterator[File]:
    for folder, names, files in os.walk(project):
        names[:] = sorted(n for n in names if n not in NOT_OURS and not n.endswith(".egg-info"))
        for name in sorted(files):
            full = Path(folder, name)
            path = full.relative_to(project).as_posix()
            if name == manifest.NAME or not (name.endswith(".py") or other_files.is_looked_at(path)):
                continue
            if full.is_symlink():
                continue  # its target is looked at where it lies
            try:
                yield File(path, full.read_bytes())
            except OSError as error:
                yield File(path, None, f"cannot be read ({error.strerror})")
