"""What must not be written over: work that is nowhere else."""

import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

from xinqiao.errors import InputError
from xinqiao.port import manifest

_FORCE = "or --force"


def check_out(project: Path, out: Path, *, force: bool) -> None:
    """InputError where a copy may not go to `out`."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: a file; choose a folder")
    here, there = project.resolve(), out.resolve()
    if project.is_dir() and there.is_relative_to(here):
        what = "the project itself; choose another folder, or --in-place" if here == there else "inside the project"
        raise InputError(f"{out}: {what}" + ("" if here == there else f"; choose a folder outside {project}"))
    if project.is_file() and (out / project.name).resolve() == here:
        raise InputError(f"{out}: holds {project.name} itself; choose another folder, or --in-place")
    if force or not out.is_dir() or not any(out.iterdir()):
        return
    if not manifest.exists(out):
        raise InputError(f"{out}: not empty; choose another folder, {_FORCE}")
    _refuse_edited(out)


def check_copies(project: Path, out: Path, files: Collection[str]) -> None:
    """InputError where a file that an earlier port copied to `out` was edited there."""
    if not manifest.exists(out):
        return
    ported, since = manifest.read(out).files, (out / manifest.FOLDER / "manifest.json").stat().st_mtime
    root = project if project.is_dir() else project.parent
    for name in files:
        there = out / name
        newer = name not in ported and there.is_file() and there.stat().st_mtime > since
        if newer and there.read_bytes() != (root / name).read_bytes():
            raise InputError(f"{there}: changed since the last port; move your changes away, {_FORCE}")


def check_in_place(root: Path, changed: Collection[str]) -> None:
    """InputError where a rewrite would bury changes that nobody has kept."""
    if manifest.exists(root):
        _refuse_edited(root)
    if shutil.which("git") is None or _git(root, "rev-parse", "--is-inside-work-tree") != "true\n":
        return
    listed = _git(root, "ls-files", "-z") or ""
    tracked = set(listed.split("\0"))
    ours = set(manifest.read(root).files) if manifest.exists(root) else set()
    dirty = _git(root, "diff", "--no-ext-diff", "--name-only", "--relative", "-z", "HEAD", "--", ".") or ""
    for name in dirty.split("\0"):
        if name and name not in ours:
            raise InputError(f"{root}: has changes that are not committed ({name}); commit them first, {_FORCE}")
    for name in changed:
        if name not in tracked and name not in ours and (root / name).exists():
            raise InputError(f"{root / name}: not in git, and the port would rewrite it; add it first, {_FORCE}")


def _refuse_edited(folder: Path) -> None:
    edited = manifest.edited(folder, manifest.read(folder))
    if edited:
        raise InputError(f"{folder / edited[0]}: changed since the last port; move your changes away, {_FORCE}")


def _git(root: Path, *words: str) -> str | None:
    """What git says; None where it fails. A checkout's own settings may name programs: none of them is run."""
    command = ["git", "-C", str(root), "-c", "core.fsmonitor=false", "-c", "core.quotepath=false", *words]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None
