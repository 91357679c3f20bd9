"""Write a port: every file is the old one or the new one at any moment, and the manifest is there before the first."""

import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from xinqiao.errors import InputError
from xinqiao.port import manifest
from xinqiao.port.manifest import Entry, Manifest, digest


@dataclass(frozen=True)
class Change:
    """before: None where the port adds the file. after: None where undo takes it away. mode: permissions to set."""

    before: bytes | None
    after: bytes | None
    mode: int | None = None


Changes = Mapping[str, Change]  # by the path from the root
_HALF = "every file is the old one or the new one; `xinqiao undo` takes the new ones back"


def in_place(root: Path, changes: Changes, chip: str) -> None:
    """Rewrite files under `root`. InputError, and nothing changed, where one of them cannot be written."""
    if not changes:
        return
    refuse_links(root, changes)
    earlier = manifest.read(root) if manifest.exists(root) else None
    with _as_input_error(root):
        made = _make_folders(root, changes)
        try:
            _stage(root, changes)
            merged = _merged(earlier, entries(root, changes), [*made], chip)
            manifest.save(root, merged, originals(changes))
        except OSError:
            _discard(root, changes, made)
            if earlier is None:
                manifest.remove(root)
            raise
    _finish(root, changes)


def out_of_place(project: Path, out: Path, files: Iterable[str], changes: Changes, chip: str) -> None:
    """Copy `files` of the project to `out`, the changed ones as the port writes them, and what it adds.

    Where `out` is new it appears at once, whole. Where it is there, files of the same name are replaced one by one.
    """
    is_new = not out.exists()
    building = out.with_name(f".{out.name}{manifest.PART}") if is_new else out / manifest.PART
    root = project if project.is_dir() else project.parent
    with _as_input_error(out):
        shutil.rmtree(building, ignore_errors=True)
        try:
            building.mkdir(parents=True)
            _build(root, building, files, changes)
            if is_new:
                _save_for(out, building, changes, chip)
                building.rename(out)
            else:
                names = [p.relative_to(building).as_posix() for p in _leaves(building)]
                refuse_links(out, names)
                _save_for(out, out, changes, chip)
                _move(building, out, names)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def take_back(root: Path, names: list[str], known: Manifest) -> None:
    """Put the originals of `names` back and take away what was added; the rest of the port stays."""
    changes = {}
    for name in names:
        entry = known.files[name]
        changes[name] = Change(None, manifest.original(root, entry), entry.mode)
    refuse_links(root, changes)
    with _as_input_error(root):
        try:
            _stage(root, changes)
        except OSError:
            _discard(root, changes, [])
            raise
    _finish(root, changes)
    with _as_input_error(root, _HALF):
        left = {name: entry for name, entry in known.files.items() if name not in changes}
        if left:
            manifest.save(root, Manifest(chip=known.chip, files=left, folders=known.folders), {})
            return
        for folder in reversed(known.folders):
            # What Python compiled there goes with the modules that were added.
            if (root / folder).is_dir() and all(p.name == "__pycache__" for p in (root / folder).iterdir()):
                shutil.rmtree(root / folder)
        manifest.remove(root)


def entries(root: Path, changes: Changes) -> dict[str, Entry]:
    """What the manifest says of the changes."""
    return {
        name: Entry(
            before=None if c.before is None else digest(c.before),
            after=digest(c.after or b""),
            mode=_mode(root / name) if c.before is not None else None,
        )
        for name, c in changes.items()
    }


def originals(changes: Changes) -> dict[str, bytes]:
    """What is kept, by SHA-256."""
    return {digest(c.before): c.before for c in changes.values() if c.before is not None}


def refuse_links(root: Path, names: Iterable[str]) -> None:
    """InputError where a path leads through a link, or a folder lies where a file shall be."""
    for name in names:
        for parent in PurePosixPath(name).parents:
            if str(parent) != "." and (root / parent).is_symlink():
                raise InputError(f"{root / parent}: a link; xinqiao does not write through it: take it away first")
        if (root / name).is_dir() and not (root / name).is_symlink():
            raise InputError(f"{root / name}: a folder, where the port writes a file: move it away first")


def _merged(earlier: Manifest | None, new: dict[str, Entry], folders: list[str], chip: str) -> Manifest:
    """A second port keeps the first one's originals."""
    if earlier is None:
        return Manifest(chip=chip, files=new, folders=folders)
    files = dict(earlier.files)
    for name, entry in new.items():
        old = earlier.files.get(name)
        if old is not None:
            known = sorted({*old.known, old.after} - {entry.after})
            entry = Entry(before=old.before, after=entry.after, known=known, mode=old.mode)
        files[name] = entry
    return Manifest(chip=chip, files=files, folders=[*earlier.folders, *folders])


def _save_for(out: Path, where: Path, changes: Changes, chip: str) -> None:
    """The manifest of a copy: its originals are the project's files as they are now."""
    earlier = manifest.read(out) if manifest.exists(out) else None
    files = entries(where, changes)
    for name, entry in files.items():
        old = earlier.files.get(name) if earlier else None
        present = manifest.digest_at(out / name)
        entry.known = sorted({*(old.ours() - {None} if old else ()), present or ""} - {"", entry.before, entry.after})
    manifest.save(where, Manifest(chip=chip, files=files), originals(changes))


def _build(root: Path, building: Path, files: Iterable[str], changes: Changes) -> None:
    """Files first, then the folders' permissions: a folder may be one that nobody can write to."""
    for name in sorted({*files, *changes}):
        target, source = building / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        change = changes.get(name)
        if source.is_symlink():
            target.symlink_to(os.readlink(source))
        elif change is not None and change.after is not None:
            target.write_bytes(change.after)
            if change.before is not None:
                shutil.copymode(source, target)
        elif source.is_dir():
            target.mkdir(exist_ok=True)
        elif stat.S_ISREG(source.stat().st_mode):
            shutil.copy2(source, target)
    for folder in sorted(p for p in building.rglob("*") if p.is_dir() and not p.is_symlink()):
        like = root / folder.relative_to(building)
        if like.is_dir():
            shutil.copymode(like, folder)


def _leaves(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*")) if p.is_symlink() or not p.is_dir())


def _move(building: Path, out: Path, names: list[str]) -> None:
    with _as_input_error(out, _HALF):
        for name in names:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (building / name).replace(out / name)


def _make_folders(root: Path, changes: Changes) -> list[str]:
    made = []
    for name in changes:
        for parent in reversed(PurePosixPath(name).parents[:-1]):
            if not (root / parent).exists():
                (root / parent).mkdir()
                made.append(str(parent))
    return made


def _stage(root: Path, changes: Changes) -> None:
    for name, change in changes.items():
        if change.after is not None:
            mode = _mode(root / name) if change.mode is None else change.mode
            manifest.stage(root / name, change.after, mode)


def _finish(root: Path, changes: Changes) -> None:
    with _as_input_error(root, _HALF):
        for name, change in changes.items():
            if change.after is None:
                (root / name).unlink(missing_ok=True)
            else:
                manifest.part_of(root / name).replace(root / name)


def _discard(root: Path, changes: Changes, made: list[str]) -> None:
    for name in changes:
        manifest.part_of(root / name).unlink(missing_ok=True)
    for folder in reversed(made):
        (root / folder).rmdir()


def _mode(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


@contextmanager
def _as_input_error(where: Path, state: str = "nothing was changed") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = "cannot be read or written" if error.filename is None else f"cannot be written to {where}"
        raise InputError(f"{error.filename or where}: {what} ({error.strerror}); {state}") from error
