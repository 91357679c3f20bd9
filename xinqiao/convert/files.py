"""Bytes of many files by memory map, and files that appear whole or not at all."""

import mmap
import os
import threading
from pathlib import Path

PART = ".part"  # how the name of a file ends that is not finished yet


class Maps:
    """Read-only maps of files, opened at first use and kept. Safe from several threads."""

    def __init__(self) -> None:
        self._maps: dict[Path, mmap.mmap] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Maps":
        return self

    def __exit__(self, *_: object) -> None:
        self._maps.clear()  # closed when the last view of them is gone

    def view(self, file: Path, offset: int, length: int) -> memoryview:
        """`length` bytes from `offset`; no copy."""
        return memoryview(self._map(file))[offset : offset + length]

    def release(self, file: Path, offset: int, length: int) -> None:
        """Give back the memory behind bytes that were read; they can be read again."""
        begin = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (offset + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > begin:
            self._map(file).madvise(mmap.MADV_DONTNEED, begin, end - begin)

    def _map(self, file: Path) -> mmap.mmap:
        with self._lock:
            if file not in self._maps:
                with file.open("rb") as opened:
                    self._maps[file] = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
            return self._maps[file]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, sees all of it or none."""
    partial = path.with_name(path.name + PART)
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """All of `data` at `offset` of an open file."""
    while data:
        done = os.pwrite(descriptor, data, offset)
        data, offset = data[done:], offset + done
