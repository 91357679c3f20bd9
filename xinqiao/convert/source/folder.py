"""A folder in Hugging Face's layout: shards, their index, the configuration and the files beside them."""

import json
from pathlib import Path
from typing import Any

from xinqiao.convert.source.entry import Checkpoint, Entry
from xinqiao.convert.source.safetensors import read_header
from xinqiao.errors import InputError

INDEX = "model.safetensors.index.json"
MOST_JSON = 64 << 20  # bytes of an index
BESIDE = ("*.json", "*.txt", "*.model", "*.jinja", "*.py", "LICENSE*", "README.md")  # what is copied
LARGEST_BESIDE = 256 << 20  # bytes


def open_folder(folder: Path) -> Checkpoint:
    """The checkpoint in a folder. InputError where an index and its shards disagree, or lead out of the folder."""
    shards = sorted(p.name for p in folder.glob("*.safetensors"))
    path = folder / INDEX
    if path.exists():
        where = _weight_map(path)
        shards = sorted(set(where.values()))
    elif not shards:
        raise InputError(f"{folder}: has no .safetensors file")
    entries: dict[str, Entry] = {}
    for shard in shards:
        for entry in read_header(_inside(folder, shard)):
            if entry.name in entries:
                raise InputError(f"{folder}: {entry.name} is in {entries[entry.name].file.name} and in {shard}")
            entries[entry.name] = entry
    if path.exists():
        _compare(path, where, entries)
    return Checkpoint(folder, "safetensors", entries, read_config(folder), _beside(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, or {} where there is none."""
    path = folder / "config.json"
    return _json(path) if path.exists() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_JSON:
            raise InputError(f"{path}: is larger than {MOST_JSON >> 20} MB")
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not JSON") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: is not a JSON object")
    return found


def _weight_map(path: Path) -> dict[str, str]:
    found = _json(path).get("weight_map")
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise InputError(f"{path}: has no weight_map from tensors to files")
    return found


def _inside(folder: Path, name: str) -> Path:
    """A shard by its plain name. A link of that name may lead elsewhere, as in Hugging Face's cache."""
    if not name.endswith(".safetensors") or name.startswith(".") or any(c in name for c in "/\\:\0"):
        raise InputError(f"{folder}: the index names {name!r}, which is not a .safetensors file of this folder")
    path = folder / name
    if not path.is_file():
        raise InputError(f"{path}: is missing, and the index names it")
    return path


def _compare(path: Path, where: dict[str, str], entries: dict[str, Entry]) -> None:
    for name, shard in where.items():
        if name not in entries or entries[name].file.name != shard:
            raise InputError(f"{path}: says that {name} is in {shard}, and it is not there")
    for name in entries:
        if name not in where:
            raise InputError(f"{path}: does not list {name}, which is in {entries[name].file.name}")


def _beside(folder: Path) -> tuple[Path, ...]:
    """Files to copy. Links out of the folder are followed only by plain files of the same name, as in a cache."""
    found = {p for pattern in BESIDE for p in folder.glob(pattern) if p.is_file() and not p.name.startswith(".")}
    skipped = {"config.json", "xinqiao-manifest.json", "quant_model_description.json"}
    return tuple(
        sorted(
            p
            for p in found
            if p.name not in skipped and not p.name.endswith(".index.json") and p.stat().st_size <= LARGEST_BESIDE
        )
    )
