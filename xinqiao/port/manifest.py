"""What a port changed, with the originals, so that it can be taken back byte for byte.

.xinqiao-port/manifest.json     every changed or added file, with its SHA-256 before and after
.xinqiao-port/originals/        the originals, compressed, each under its SHA-256
"""

import hashlib
import os
import shutil
import zlib
from pathlib import Path, PurePosixPath

import msgspec

from xinqiao.errors import InputError

FOLDER = ".xinqiao-port"
SCHEMA = 1
PART = ".xinqiao-part"  # how the name of a file ends that is not finished yet


class Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One file that the port changed or added.

    before  SHA-256 of the original; None where the port added the file
    after   SHA-256 of what the port wrote
    known   SHA-256 of what earlier ports wrote there
    mode    the original's permissions
    """

    before: str | None
    after: str
    known: list[str] = []
    mode: int | None = None

    def ours(self) -> set[str | None]:
        """What may lie there without anybody else having written it; None for no file."""
        return {self.before, self.after, *self.known}


class Manifest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """folders: those that the port made, the innermost last."""

    schema: int = SCHEMA
    chip: str
    files: dict[str, Entry]
    folders: list[str] = []


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_at(path: Path) -> str | None:
    """SHA-256 of a file; None where there is none."""
    return digest(path.read_bytes()) if path.is_file() else None


def exists(folder: Path) -> bool:
    return (folder / FOLDER / "manifest.json").is_file()


def read(folder: Path) -> Manifest:
    """The manifest in a folder; InputError where there is none, or it is damaged."""
    path = folder / FOLDER / "manifest.json"
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{folder}: no port to take back ({FOLDER} is not there)") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged: {error}") from error
    for name in (*manifest.files, *manifest.folders):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path}: damaged: {name} lies outside {folder}")
    return manifest


def edited(folder: Path, manifest: Manifest) -> list[str]:
    """Files that somebody else wrote since the port, or took away."""
    return [name for name, entry in manifest.files.items() if digest_at(folder / name) not in entry.ours()]


def save(folder: Path, manifest: Manifest, originals: dict[str, bytes]) -> None:
    """Write originals (by SHA-256) and then the manifest, so that no manifest is there without its originals."""
    kept = folder / FOLDER / "originals"
    kept.mkdir(parents=True, exist_ok=True)
    write_durably(folder / FOLDER / ".gitignore", b"*\n")
    for name, data in originals.items():
        if not (kept / name).exists():
            write_durably(kept / name, zlib.compress(data))
    write_durably(folder / FOLDER / "manifest.json", msgspec.json.format(msgspec.json.encode(manifest)))


def original(folder: Path, entry: Entry) -> bytes | None:
    """The original of a file; None where the port added it. InputError where what was kept is damaged."""
    if entry.before is None:
        return None
    path = folder / FOLDER / "originals" / digest_name(entry.before)
    try:
        data = zlib.decompress(path.read_bytes())
    except (OSError, zlib.error) as error:
        raise InputError(f"{path}: damaged or missing: the original cannot be put back") from error
    if digest(data) != entry.before:
        raise InputError(f"{path}: damaged: the original cannot be put back")
    return data


def digest_name(value: str) -> str:
    """A SHA-256 as the file name that it is. InputError for anything else."""
    if len(value) != 64 or not value.isalnum():
        raise InputError(f"{FOLDER}: damaged: {value[:80]!r} is no SHA-256")
    return value


def remove(folder: Path) -> None:
    """Forget a port, once everything is back."""
    (folder / FOLDER / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def part_of(path: Path) -> Path:
    """Where a file is written before it gets its name: beside it, so that the renaming is one step."""
    return path.with_name(f".{path.name}{PART}")


def stage(path: Path, data: bytes, mode: int | None) -> None:
    """Write the unfinished file and make sure that it is on the disk."""
    part = part_of(path)
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if mode is not None:
        part.chmod(mode)


def write_durably(path: Path, data: bytes) -> None:
    """Write so that a reader sees the old file or the new one, also after a power cut."""
    stage(path, data, None)
    part_of(path).replace(path)
