"""What a conversion leaves in its output folder while it runs: a lock, the plan's key, a row for each finished shard.

out/.xinqiao-convert/lock           held by the process that converts
out/.xinqiao-convert/plan           which plan this is; another plan is refused
out/.xinqiao-convert/SHARD.json     the shard is whole and on the disk; its rows of the manifest
out/.xinqiao-convert/SHARD.part     a shard that is being written
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from xinqiao.convert.files import PART, write_whole
from xinqiao.convert.manifest import Converted, encode
from xinqiao.errors import InputError

FOLDER = ".xinqiao-convert"


class State:
    """The work folder of one output folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / FOLDER

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the output folder against every other process. InputError where one has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"{self.out}: another conversion is writing here; wait for it, or stop it") from error
            yield

    def begin(self, key: str) -> None:
        """Start, or go on with, the plan of this key. InputError where the folder holds another one."""
        path = self.folder / "plan"
        if not path.exists():
            write_whole(path, key.encode())
        elif path.read_text() != key:
            raise InputError(
                f"{self.out}: holds an unfinished conversion of another source or with other options; "
                "finish that one, or remove the folder"
            )

    def begun(self, key: str) -> bool:
        """Whether the plan of this key has been started here."""
        path = self.folder / "plan"
        return path.exists() and path.read_text() == key

    def partial(self, shard: str) -> Path:
        return self.folder / (shard + PART)

    def finished(self, shard: str) -> list[Converted] | None:
        """The rows of a shard that is whole; None where it has still to be written."""
        path = self.folder / f"{shard}.json"
        if not path.exists() or not (self.out / shard).exists():
            return None
        return msgspec.json.decode(path.read_bytes(), type=list[Converted])

    def finish(self, shard: str, rows: list[Converted]) -> None:
        write_whole(self.folder / f"{shard}.json", encode(rows))

    def close(self) -> None:
        """Remove the work folder: the result is complete."""
        shutil.rmtree(self.folder)
