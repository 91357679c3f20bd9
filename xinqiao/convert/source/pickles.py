"""PyTorch's own files, which are programs: read only where the user asks, and in a process of their own."""

import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

from xinqiao.convert.source.entry import Checkpoint, Entry
from xinqiao.convert.source.safetensors import read_header
from xinqiao.errors import InputError

PATTERNS = ("pytorch_model*.bin", "*.bin", "*.pt", "*.pth")
RATIO = 4  # how far a file may unfold
ROOM = 6 << 30  # bytes of address space beside that, which PyTorch itself takes
SECONDS = 3600


def pickle_files(path: Path) -> list[Path]:
    """The PyTorch files of a folder, or the one that `path` is."""
    if path.is_file():
        return [path] if path.suffix in (".bin", ".pt", ".pth") else []
    for pattern in PATTERNS:
        if found := sorted(p for p in path.glob(pattern) if p.name != "training_args.bin"):
            return found
    return []


def open_pickles(path: Path, files: list[Path], scratch: Path) -> Checkpoint:
    """Their tensors, from safetensors files made in `scratch`. InputError where a file holds more than tensors."""
    entries: dict[str, Entry] = {}
    for file in files:
        made = scratch / (file.stem + ".safetensors")
        _unpickle(file, made)
        for entry in read_header(made):
            if entry.name in entries:
                raise InputError(f"{path}: {entry.name} is in two files")
            entries[entry.name] = entry
    return Checkpoint(path, "pickle", entries, {})


def _unpickle(file: Path, made: Path) -> None:
    size = file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            unfolded = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{file}: is not a file of torch.save as PyTorch 1.6 and later write it") from error
    if unfolded > RATIO * size:
        raise InputError(
            f"{file}: unfolds to {unfolded / 1e6:.0f} MB from {size / 1e6:.0f} MB, which no checkpoint does"
        )
    limit = RATIO * size + ROOM

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    command = [sys.executable, "-m", "xinqiao.convert.source.unpickle", str(file), str(made)]
    environment = os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS, env=environment, preexec_fn=limited
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith((" ", "\t"))]
        reason = next((line for line in lines if "Error" in line), "it was stopped").split("\n")[0][:200]
        raise InputError(f"{file}: cannot be read as tensors alone: {reason}")
