"""PyTorch's own files, which are programs: read only where the user asks, and in a process of their own."""

import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec

from xinqiao.convert.source.documents import regular, shown
from xinqiao.convert.source.entry import Checkpoint, Entry
from xinqiao.convert.source.index import compare, read_index, whole
from xinqiao.convert.source.safetensors import read_header
from xinqiao.errors import InputError

INDEX = "pytorch_model.bin.index.json"
PATTERNS = ("pytorch_model*.bin", "*.bin", "*.pt", "*.pth")
NOT_WEIGHTS = ("training_args.bin", "optimizer.", "scheduler.", "rng_state")  # how names begin
RATIO = 4  # how far a file may unfold
ROOM = 6 << 30  # bytes of address space beside that, which PyTorch itself takes
SECONDS = 3600


def pickle_files(path: Path) -> list[Path]:
    """The PyTorch files of a folder, or the one that `path` is. InputError where its index names others."""
    if not path.is_dir():
        return [path] if path.suffix in (".bin", ".pt", ".pth") else []
    if (path / INDEX).exists():
        return [path / name for name in sorted(set(read_index(path / INDEX, ".bin").values()))]
    for pattern in PATTERNS:
        if found := sorted(p for p in path.glob(pattern) if not p.name.startswith((*NOT_WEIGHTS, "."))):
            whole(path, [p.name for p in found])
            return found
    return []


def open_pickles(path: Path, files: list[Path], scratch: Path) -> Checkpoint:
    """Their tensors, from safetensors files made in `scratch`. InputError where a file holds more than tensors."""
    entries: dict[str, Entry] = {}
    tied: set[str] = set()
    for file in files:
        made = scratch / (file.stem + ".safetensors")
        tied.update(_unpickle(file, made))
        for entry in read_header(made):
            if entry.name in entries:
                raise InputError(f"{path}: {shown(entry.name)} is in two files")
            entries[entry.name] = entry
    index = path / INDEX
    if path.is_dir() and index.exists():
        compare(index, read_index(index, ".bin"), entries, tied)
    return Checkpoint(path, "pickle", entries, {})


def _unpickle(file: Path, made: Path) -> list[str]:
    """Write `made`; the names that share their bytes with one before, which it leaves out."""
    size = regular(file).stat().st_size
    _check_archive(file, size)
    limit = RATIO * size + ROOM

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_FSIZE, (RATIO * size + (1 << 20),) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    command = [sys.executable, "-m", "xinqiao.convert.source.unpickle", str(file.absolute()), str(made.absolute())]
    environment = os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SECONDS, env=environment, preexec_fn=limited
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{file}: not read within {SECONDS} seconds") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith((" ", "\t"))]
        reason = next((line for line in lines if "Error" in line), "it was stopped")[:200]
        raise InputError(f"{file}: cannot be read as tensors alone: {shown(reason)}")
    return msgspec.json.decode(done.stdout, type=list[str])


def _check_archive(file: Path, size: int) -> None:
    """InputError where the file unfolds to more than a checkpoint does, by the archive's own list."""
    try:
        with zipfile.ZipFile(file) as archive:
            unfolded = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{file}: is not a file of torch.save as PyTorch 1.6 and later write it") from error
    if unfolded > RATIO * size:
        raise InputError(
            f"{file}: unfolds to {unfolded / 1e6:.0f} MB from {size / 1e6:.0f} MB, which no checkpoint does"
        )
