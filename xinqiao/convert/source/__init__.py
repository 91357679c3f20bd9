"""Checkpoints as they are found: where each tensor lies. Nothing is executed; nothing outside is opened."""

from pathlib import Path

from xinqiao.convert.source.entry import Checkpoint, Entry
from xinqiao.convert.source.folder import open_folder
from xinqiao.convert.source.safetensors import read_header
from xinqiao.errors import InputError

__all__ = ["Checkpoint", "Entry", "open_checkpoint", "read_header"]


def open_checkpoint(path: Path, *, allow_pickle: bool, scratch: Path | None) -> Checkpoint:
    """The tensors of a folder of safetensors files, or of one such file. InputError says what is wrong with it."""
    if path.is_dir():
        return open_folder(path)
    if path.suffix == ".safetensors":
        entries = {entry.name: entry for entry in read_header(path)}
        return Checkpoint(path, "safetensors", entries, {})
    raise InputError(f"{path}: no such folder or file")
