"""A whole project: find its files, port them, write them or show what would change."""

import difflib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from xinqiao.errors import InputError
from xinqiao.port import manifest
from xinqiao.port.engine import Ported, port_source
from xinqiao.port.facts import facts_of, together
from xinqiao.port.files import is_looked_at, port_file
from xinqiao.port.source import Source, parse
from xinqiao.port.target import Target
from xinqiao.port.words import WORTH_PARSING
from xinqiao.record.schema import Occurrence, PortRecord

_NOT_OURS = {
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


def check(project: Path, target: Target) -> PortRecord:
    """Every CUDA-bound place of a project, and what a port would do with it; nothing is written."""
    return _analyse(project, target).record


def diff(project: Path, target: Target) -> str:
    """What a port would change, as a unified diff; nothing is written."""
    result = _analyse(project, target)
    return "".join(_diff(p, result.before[p.path]) for p in result.ported if p.data is not None)


def port(project: Path, target: Target, out: Path | None, *, in_place: bool = False, force: bool = False) -> PortRecord:
    """Write the ported project to `out`, or rewrite it in place; either can be taken back by `undo`.

    force   write into a folder that is not empty, or a checkout with changes that are not committed
    """
    if (out is None) == (not in_place):
        raise InputError("say where the port goes: --out DIR, or --in-place")
    folder = project if out is None else out
    _check_folder(project, folder, force=force)
    result = _analyse(project, target)
    files = {p.path: manifest.changed(result.before[p.path], p.data) for p in result.ported if p.data is not None}
    if folder != project:
        _copy(project, folder)
    if files or folder != project:
        manifest.save(folder, manifest.Manifest(target.chip.name, _with_earlier(folder, project, files)))
    for p in result.ported:
        if p.data is not None:
            manifest.write_file(folder / p.path, p.data)
    return result.record


def undo(directory: Path) -> list[str]:
    """Take a port back, byte for byte. Returns the files that were put back."""
    return manifest.undo(directory)


def _with_earlier(folder: Path, project: Path, files: dict[str, manifest.Changed]) -> dict[str, manifest.Changed]:
    """A second port in place keeps the first one's originals."""
    if folder != project or not (folder / manifest.NAME).exists():
        return files
    earlier = manifest.read(folder).files
    merged = {name: manifest.Changed(earlier[name].before, f.after, earlier[name].original) if name in earlier else f
              for name, f in files.items()}  # fmt: skip
    return {**earlier, **merged}


def _check_folder(project: Path, folder: Path, *, force: bool) -> None:
    if folder != project and folder.resolve().is_relative_to(project.resolve()):
        raise InputError(f"{folder}: inside the project; choose a folder outside {project}")
    if force:
        return
    if folder != project and folder.is_dir() and any(folder.iterdir()) and not (folder / manifest.NAME).exists():
        raise InputError(f"{folder}: not empty; choose another folder, or --force")
    if folder == project and _has_uncommitted(project):
        raise InputError(f"{project}: has changes that are not committed; commit them first, or --force")


def _has_uncommitted(project: Path) -> bool:
    if not (project / ".git").exists() or shutil.which("git") is None:
        return False
    command = ["git", "-C", str(project), "status", "--porcelain", "--untracked-files=no"]
    return bool(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())


def _analyse(project: Path, target: Target) -> Result:
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
        if not file.path.endswith(".py"):
            ported.append(port_file(file.path, file.data, target))
            if ported[-1].data is not None:
                before[file.path] = file.data
        elif WORTH_PARSING.search(file.data):
            source = _parsed(file, target, ported)
            if source is not None:
                sources.append(source)
                before[file.path] = file.data
    known = together(facts_of(s.tree) for s in sources)
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
        names[:] = sorted(n for n in names if n not in _NOT_OURS and not n.endswith(".egg-info"))
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


def _copy(project: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(project, target, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_OURS, manifest.NAME))


def _diff(ported: Ported, before: bytes) -> str:
    assert ported.data is not None
    old, new = (d.decode("utf-8", "replace").splitlines(keepends=True) for d in (before, ported.data))
    return "".join(difflib.unified_diff(old, new, f"a/{ported.path}", f"b/{ported.path}"))
