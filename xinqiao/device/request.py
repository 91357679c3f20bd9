"""What a run is asked to keep beside its record: a file next to where the record will be."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from xinqiao.errors import InputError


class Whole(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whole tensors of the journal's calls first to last - 1, written to a folder, each rank's in its own.

    A file holds one tensor's elements in order: `CALL.NUMBER.DTYPE`, the dtype as C++ PyTorch writes it.
    """

    folder: str
    first: int
    last: int

    def folder_of(self, rank: int) -> Path:
        return Path(self.folder) / f"rank{rank}"


class Request(Struct, forbid_unknown_fields=True, kw_only=True):
    """root: the project's folder. watched: for files relative to it, lines of which it is asked whether they run."""

    root: str
    watched: dict[str, list[int]] = {}
    whole: Whole | None = None


def _beside(record: Path) -> Path:
    return record.with_name(record.name + ".request")


def ask(record: Path, request: Request) -> None:
    """Have the run that writes `record` keep its evidence."""
    _beside(record).write_bytes(msgspec.json.encode(request))


def asked(record: Path | None) -> Request | None:
    """What was asked of the run that will write `record`."""
    if record is None or not _beside(record).exists():
        return None
    return msgspec.json.decode(_beside(record).read_bytes(), type=Request)


def answered(record: Path) -> None:
    """Take the request away."""
    _beside(record).unlink(missing_ok=True)


@contextmanager
def evidence_beside(record: Path | None, project: Path, *, wanted: bool) -> Iterator[None]:
    """Ask for evidence while the block runs. InputError where there is no record to put it in."""
    if not wanted:
        yield
        return
    if record is None:
        raise InputError("--evidence: say where the record goes: --record FILE")
    ask(record, Request(root=str(project.resolve())))
    try:
        yield
    finally:
        answered(record)
