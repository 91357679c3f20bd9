"""A whole project: port it, write it or show what would change."""

import difflib
import shutil
import subprocess
from pathlib import Path

from xinqiao.errors import InputError
from xinqiao.port import manifest
from xinqiao.port.analyse import NOT_OURS, analyse
from xinqiao.port.engine import Ported
from xinqiao.port.target import Target
from xinqiao.record.schema import PortRecord


def check(project: Path, target: Target) -> PortRecord:
    """Every CUDA-bound place of a project, and what a port would do with it; nothing is written."""
    return analyse(project, target).record


def diff(project: Path, target: Target) -> str:
    """What a port would change, as a unified diff; nothing is written."""
    result = analyse(project, target)
    return "".join(_diff(p, result.before[p.path]) for p in result.ported if p.data is not None)


def port(project: Path, target: Target, out: Path | None, *, in_place: bool = False, force: bool = False) -> PortRecord:
    """Write the ported project to `out`, or rewrite it in place; either can be taken back by `undo`.

    force   write into a folder that is not empty, or a checkout with changes that are not committed
    """
    if (out is None) == (not in_place):
        raise InputError("say where the port goes: --out DIR, or --in-place")
    folder = project if out is None else out
    _check_folder(project, folder, force=force)
    result = analyse(project, target)
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


def _copy(project: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(project, target, symlinks=True, ignore=shutil.ignore_patterns(*NOT_OURS, manifest.NAME))


def _diff(ported: Ported, before: bytes) -> str:
    assert ported.data is not None
    old, new = (d.decode("utf-8", "replace").splitlines(keepends=True) for d in (before, ported.data))
    return "".join(difflib.unified_diff(old, new, f"a/{ported.path}", f"b/{ported.path}"))
