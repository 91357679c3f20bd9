"""A whole project, or one file: port it, write it or show what would change."""

import os
from collections.abc import Iterator
from pathlib import Path

from xinqiao.errors import InputError
from xinqiao.port import commit, manifest, safe
from xinqiao.port.analyse import NOT_OURS, Result, analyse
from xinqiao.port.commit import Change
from xinqiao.port.dependencies import Packages, audit
from xinqiao.port.pages import source_of
from xinqiao.port.patch import unified
from xinqiao.port.target import Target
from xinqiao.record.schema import PortRecord


def check(project: Path, target: Target, packages: Packages | None = None) -> PortRecord:
    """Every CUDA-bound place of a project, and what a port would do with it; nothing is written.

    packages    look at the installed packages that it imports, too
    """
    return _analysed(project, target, packages).record


def diff(project: Path, target: Target, packages: Packages | None = None) -> bytes:
    """What a port would change, as a unified diff that `git apply` takes; nothing is written."""
    changes = _changes(_analysed(project, target, packages))
    return b"".join(unified(path, c.before, c.after or b"") for path, c in sorted(changes.items()))


def port(
    project: Path,
    target: Target,
    out: Path | None,
    *,
    in_place: bool = False,
    force: bool = False,
    packages: Packages | None = None,
) -> PortRecord:
    """Write the ported project to `out`, or rewrite it in place; either can be taken back by `undo`.

    packages    look at the installed packages that it imports, too
    force       write into a folder that is not empty, or over changes that are not committed
    """
    if (out is None) == (not in_place):
        raise InputError("say where the port goes: --out DIR, or --in-place")
    _check_there(project)
    if out is not None:
        safe.check_out(project, out, force=force)
    result = _analysed(project, target, packages)
    write(project, result, out, target, force=force)
    return result.record


def write(project: Path, result: Result, out: Path | None, target: Target, *, force: bool) -> None:
    """Write what an analysis found to change. out: None for the project itself."""
    changes = _changes(result)
    if out is None:
        root = _root(project)
        if not force:
            safe.check_in_place(root, changes)
        commit.in_place(root, changes, target.chip.name)
        return
    files = list(_all_files(project))
    if not force:
        safe.check_copies(project, out, files)
    commit.out_of_place(project, out, files, changes, target.chip.name)


def undo(place: Path) -> list[str]:
    """Take a port back, byte for byte: that of a folder, or of one file. Returns the files that were put back."""
    root = place if place.is_dir() or not manifest.exists(place.parent) else place.parent
    known = manifest.read(root)
    names = sorted(known.files) if root == place else [n for n in known.files if n == place.name]
    if not names and root != place:
        raise InputError(f"{place}: no port to take back (the port of {root} did not write it)")
    edited = [n for n in manifest.edited(root, known) if n in names]
    if edited:
        raise InputError(f"{root / edited[0]}: changed since the port; move your changes away first")
    commit.take_back(root, names, known)
    return names


def _analysed(project: Path, target: Target, packages: Packages | None) -> Result:
    _check_there(project)
    result = analyse(project, target)
    record = result.record
    if packages is not None:
        audit(project, list(_all_files(project)), result, target, packages)
    for o in (*record.occurrences, *(o for d in record.dependencies or () for o in d.occurrences)):
        o.source = source_of(o.rule)
    return result


def _changes(result: Result) -> dict[str, Change]:
    """A ported file whose bytes before are not known is one that the port adds."""
    return {p.path: Change(result.before.get(p.path), p.data) for p in result.ported if p.data is not None}


def _check_there(project: Path) -> None:
    if not project.exists():
        raise InputError(f"{project}: no such folder or file; `xinqiao port PROJECT --chip NAME --out DIR`")
    if not project.is_dir() and project.suffix != ".py":
        raise InputError(f"{project}: neither a folder nor a .py file")


def _root(project: Path) -> Path:
    return project if project.is_dir() else project.parent


def _all_files(project: Path) -> Iterator[str]:
    """Everything that a copy has: files, links, and folders that are empty."""
    if not project.is_dir():
        yield project.name
        return
    for folder, names, files in os.walk(project):
        names[:] = sorted(n for n in names if n not in NOT_OURS)
        links = [n for n in names if Path(folder, n).is_symlink()]
        for name in (*sorted(files), *links):
            yield Path(folder, name).relative_to(project).as_posix()
        if not names and not files and Path(folder) != project:
            yield Path(folder).relative_to(project).as_posix()
