"""Checkpoints as they are found: where each tensor lies. Nothing is executed; nothing outside is opened."""

from pathlib import Path

from xinqiao.convert.source import llama
from xinqiao.convert.source.entry import Checkpoint, Entry
from xinqiao.convert.source.folder import open_folder
from xinqiao.convert.source.gguf import read_gguf
from xinqiao.convert.source.safetensors import read_header
from xinqiao.convert.source.tokenizer import tokenizer_files
from xinqiao.errors import InputError

__all__ = ["Checkpoint", "Entry", "open_checkpoint", "read_header"]


def open_checkpoint(path: Path, *, allow_pickle: bool, scratch: Path | None) -> Checkpoint:
    """The tensors of a folder of safetensors files, of one such file, or of a GGUF file.

    InputError says what is wrong with it.
    """
    if path.is_dir():
        return open_folder(path)
    if not path.exists():
        raise InputError(f"{path}: no such folder or file")
    if path.suffix == ".gguf":
        return open_gguf(path)
    if path.suffix == ".safetensors":
        return Checkpoint(path, "safetensors", {entry.name: entry for entry in read_header(path)}, {})
    raise InputError(f"{path}: neither a folder nor a .safetensors or .gguf file")


def open_gguf(path: Path) -> Checkpoint:
    """A GGUF file under Hugging Face's names, with the configuration and the tokenizer that its metadata describe."""
    metadata, entries = read_gguf(path)
    architecture = metadata.get("general.architecture")
    if architecture not in llama.ARCHITECTURES:
        known = ", ".join(llama.ARCHITECTURES)
        raise InputError(f"{path}: the architecture {architecture!r} is not known by its names; there are {known}")
    named = {entry.name: entry for entry in (llama.renamed(entry, metadata) for entry in entries)}
    strange = [name for name in named if name.startswith(("blk.", "rope_"))]
    if strange:
        raise InputError(f"{path}: {strange[0]}: a {architecture} model has no such tensor that is known here")
    files = tokenizer_files(metadata)
    warnings = () if files else (f"{path.name}: its tokenizer is of a kind that is not written; copy the original's",)
    return Checkpoint(path, "gguf", named, llama.config(metadata, named), (), files, warnings)
