"""A folder in Hugging Face's layout: shards, their index, the configuration and the files beside them.

Names are plain names in the folder. A shard may be a link to anywhere, as in Hugging Face's cache and in folders that
users link together: what it leads to must be a safetensors file. Every other file may be a link only within the folder,
or to a folder where weights of the checkpoint lie: a downloaded folder must not bring the user's own files into the
result.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec

from xinqiao.convert.source.documents import read_object, shown
from xinqiao.convert.source.entry import Checkpoint, Entry
from xinqiao.convert.source.index import compare, read_index, whole
from xinqiao.convert.source.safetensors import read_header
from xinqiao.errors import InputError

INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
BESIDE = ("*.json", "*.txt", "*.model", "*.jinja", "*.py", "LICENSE*", "README.md")  # what is copied
LARGEST_BESIDE = 256 << 20  # bytes
_MADE = {CONFIG, "xinqiao-manifest.json", "quant_model_description.json"}  # written anew
_SHARDS = re.compile(r"model(-\d{5,6}-of-\d{5,6})?\.safetensors")


def open_folder(folder: Path) -> Checkpoint:
    """The checkpoint in a folder. InputError where an index and its shards disagree, or lead out of the folder."""
    path = folder / INDEX
    where = read_index(path, ".safetensors") if path.exists() or path.is_symlink() else {}
    present = sorted(p.name for p in folder.glob("*.safetensors") if not p.name.startswith("."))
    shards = sorted(set(where.values())) or _shards(folder, present)
    entries: dict[str, Entry] = {}
    for shard in shards:
        for entry in read_header(folder / shard):
            if entry.name in entries:
                raise InputError(f"{folder}: {shown(entry.name)} is in {entries[entry.name].file.name} and in {shard}")
            entries[entry.name] = entry
    if where:
        compare(path, where, entries)
    left = sorted(set(present) - set(shards))
    warnings = (f"{folder}: {shown(', '.join(left))}: not among the model's files, left out",) if left else ()
    found = Checkpoint(folder, "safetensors", entries, {}, warnings=warnings)
    return beside(found, [folder / shard for shard in shards])


def beside(checkpoint: Checkpoint, weights: Iterable[Path]) -> Checkpoint:
    """The same with the configuration and the other files of its folder. weights: the files that hold the tensors."""
    folder = checkpoint.path
    if not folder.is_dir():
        return checkpoint
    homes = {folder.resolve(), *(file.resolve().parent for file in weights)}
    found = _others(folder)
    others = [file for file in found if _at_home(file, homes)]
    strange = [file for file in found if file not in others]
    warnings = [f"{folder}: {shown(file.name)} is a link that leads out of the folder, not copied" for file in strange]
    return msgspec.structs.replace(
        checkpoint,
        config=_config(folder, homes),
        others=tuple(others),
        warnings=(*checkpoint.warnings, *warnings),
    )


def _shards(folder: Path, present: list[str]) -> list[str]:
    """Without an index: the files named as a model's are, or else all."""
    if not present:
        raise InputError(f"{folder}: has no .safetensors file")
    named = [name for name in present if _SHARDS.fullmatch(name)]
    whole(folder, named or present)
    return named or present


def _config(folder: Path, homes: Collection[Path]) -> dict[str, Any]:
    """config.json, or {} where there is none."""
    path = folder / CONFIG
    if not path.exists() and not path.is_symlink():
        return {}
    if not _at_home(path, homes):
        raise InputError(f"{path}: is a link that leads out of the folder; put the file itself there")
    return read_object(path)


def _at_home(path: Path, homes: Collection[Path]) -> bool:
    found = path.resolve().parent
    return any(found == home for home in homes) or found.is_relative_to(path.parent.resolve())


def _others(folder: Path) -> list[Path]:
    found = {p for pattern in BESIDE for p in folder.glob(pattern) if not p.name.startswith(".")}
    kept = (p for p in found if p.name not in _MADE and not p.name.endswith(".index.json"))
    return sorted(p for p in kept if p.is_file() and p.stat().st_size <= LARGEST_BESIDE)
