"""A model in GGUF files, as a checkpoint: names, configuration and tokenizer."""

import re
from collections.abc import Iterable
from pathlib import Path

from xinqiao.convert.source import llama, rope
from xinqiao.convert.source.entry import Checkpoint, Entry
from xinqiao.convert.source.gguf import Value, read_gguf
from xinqiao.convert.source.index import whole
from xinqiao.convert.source.tokenizer import tokenizer_files
from xinqiao.errors import InputError

_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.ASCII)


def gguf_file(folder: Path) -> Path | None:
    """The one model of a folder, or its first part; None where there is none. InputError where there are several."""
    found = [p for p in sorted(folder.glob("*.gguf")) if not (part := _PART.fullmatch(p.name)) or int(part[2]) == 1]
    if len(found) > 1:
        raise InputError(f"{folder}: holds {len(found)} models ({', '.join(p.name for p in found[:3])}); give one file")
    return found[0] if found else None


def open_gguf(path: Path) -> Checkpoint:
    """A GGUF file, with its further parts, under Hugging Face's names."""
    metadata, entries = read_gguf(path)
    entries += _further(path, metadata)
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in llama.ARCHITECTURES:
        known = ", ".join(llama.ARCHITECTURES)
        raise InputError(
            f"{path}: the architecture {str(architecture)[:40]!r} is not known by its names; there are {known}"
        )
    factors = next((entry for entry in entries if entry.name == rope.FACTORS), None)
    stretched = rope.scaling(metadata, path, factors)
    named: dict[str, Entry] = {}
    for entry in entries:
        for new in llama.renamed(entry, metadata) if entry is not factors else ():
            if new.name in named:
                raise InputError(f"{path}: {entry.name!r} is there twice")
            named[new.name] = new
    _check_layers(path, named, metadata.get(f"{architecture}.block_count"))
    files = tokenizer_files(metadata)
    warnings = () if files else (f"{path.name}: its tokenizer is of a kind that is not written; copy the original's",)
    try:
        config = llama.config(metadata, named) | stretched
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Checkpoint(path, "gguf", named, config, (), files, warnings)


def _further(path: Path, metadata: dict[str, Value]) -> list[Entry]:
    """The tensors of the other parts, which lie beside the first."""
    count = metadata.get("split.count", 0)
    if not isinstance(count, int) or count < 2:
        return []
    part = _PART.fullmatch(path.name)
    if not part or int(part[2]) != 1 or int(part[3]) != count:
        raise InputError(f"{path}: is one of {count} parts; give the first, named …-00001-of-{count:05d}.gguf")
    whole(path.parent, {p.name for p in path.parent.iterdir() if p.name.startswith(f"{part[1]}-")})
    found: list[Entry] = []
    for i in range(2, count + 1):
        found += read_gguf(path.with_name(f"{part[1]}-{i:05d}-of-{count:05d}.gguf"))[1]
    return found


def _check_layers(path: Path, names: Iterable[str], count: Value | None) -> None:
    """InputError where layers are missing: of a file that was cut into parts by hand, say."""
    layers = {int(name.split(".")[2]) for name in names if name.startswith("model.layers.")}
    if count != len(layers) or layers != set(range(len(layers))):
        raise InputError(f"{path}: has {len(layers)} layers, and its metadata say {str(count)[:40]}")
