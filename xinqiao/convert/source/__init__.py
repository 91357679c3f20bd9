"""Checkpoints as they are found: where each tensor lies. Nothing is executed; nothing outside is opened."""

from pathlib import Path

from xinqiao.convert.source.entry import Checkpoint, Entry
from xinqiao.convert.source.folder import INDEX, beside, open_folder
from xinqiao.convert.source.gguf_model import gguf_file, open_gguf
from xinqiao.convert.source.pickles import open_pickles, pickle_files
from xinqiao.convert.source.safetensors import read_header
from xinqiao.errors import InputError

__all__ = ["Checkpoint", "Entry", "open_checkpoint", "read_header"]


def open_checkpoint(path: Path, *, allow_pickle: bool, scratch: Path | None) -> Checkpoint:
    """The tensors of a folder or of one file: safetensors, else GGUF, else PyTorch's own files.

    allow_pickle, scratch: needed for the last, whose tensors are first written as safetensors into `scratch`.
    InputError says what is wrong with it.
    """
    if not path.exists():
        raise InputError(f"{path}: no such folder or file")
    try:
        return _open(path, scratch if allow_pickle else None)
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read ({error.strerror})") from error


def _open(path: Path, scratch: Path | None) -> Checkpoint:
    if path.is_dir() and (any(path.glob("*.safetensors")) or (path / INDEX).exists()):
        return open_folder(path)
    gguf = gguf_file(path) if path.is_dir() else path
    if gguf and gguf.suffix == ".gguf":
        return open_gguf(gguf)
    if path.suffix == ".safetensors":
        return Checkpoint(path, "safetensors", {entry.name: entry for entry in read_header(path)}, {})
    pickles = pickle_files(path)
    if not pickles:
        raise InputError(f"{path}: no .safetensors file, and no .gguf or .bin either")
    if scratch is None:
        raise InputError(
            f"{pickles[0]}: such a file can run code when it is read; --allow-pickle reads only its tensors, "
            "in a process of its own"
        )
    return beside(open_pickles(path, pickles, scratch), pickles)
