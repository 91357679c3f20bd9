"""What a port changed, with the originals, so that it can be taken back byte for byte."""

import base64
import hashlib
import shutil
import zlib
from pathlib import Path

import msgspec

from xinqiao.errors import InputError

NAME = ".xinqiao-port.json"
SCHEMA = 1


class Changed(msgspec.Struct, forbid_unknown_fields=True):
    """One rewritten file: SHA-256 before and after, and the original, compressed."""

    before: str
    after: str
    original: str

    def data(self) -> bytes:
        return zlib.decompress(base64.b64decode(self.original))


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    chip: str
    files: dict[str, Changed]
    added: dict[str, str] = {}  # new files → SHA-256
    schema: int = SCHEMA


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def changed(before: bytes, after: bytes) -> Changed:
    """An entry for one file."""
    return Changed(digest(before), digest(after), base64.b64encode(zlib.compress(before)).decode())


def read(folder: Path) -> Manifest:
    """The manifest in a folder; InputError where there is none, or it is damaged."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no port to take back ({NAME} is not there)") from error
    except msgspec.DecodeError as error:
        raise InputError(f"{folder / NAME}: damaged: {error}") from error


def write_file(path: Path, data: bytes) -> None:
    """Write so that a reader sees the old file or the new one, with the old one's permissions."""
    partial = path.with_name(path.name + ".xinqiao-part")
    partial.write_bytes(data)
    if path.exists():
        partial.chmod(path.stat().st_mode & 0o7777)
    partial.replace(path)


def save(folder: Path, manifest: Manifest) -> None:
    write_file(folder / NAME, msgspec.json.format(msgspec.json.encode(manifest)))


def undo(folder: Path) -> list[str]:
    """Put every original back. InputError, and nothing changed, where a file was edited since."""
    manifest = read(folder)
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file() or digest(path.read_bytes()) not in (entry.after, entry.before):
            raise InputError(f"{path}: changed since the port; move your changes away first")
    for name, sha256 in manifest.added.items():
        path = folder / name
        if path.exists() and digest(path.read_bytes()) != sha256:
            raise InputError(f"{path}: changed since the port; move your changes away first")
    for name, entry in manifest.files.items():
        write_file(folder / name, entry.data())
    for name in manifest.added:
        (folder / name).unlink(missing_ok=True)
    for parent in sorted({(folder / name).parent for name in manifest.added}, reverse=True):
        _remove_if_empty(parent)
    (folder / NAME).unlink()
    return sorted([*manifest.files, *manifest.added])


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and all(p.name == "__pycache__" for p in folder.iterdir()):
        shutil.rmtree(folder)
