"""Run the original and the port, each in processes of its own, and read what they left."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from xinqiao.device.launch import launch
from xinqiao.device.process_files import ranked
from xinqiao.device.request import Request, Whole, answered, ask
from xinqiao.device.settings import Settings
from xinqiao.errors import InputError
from xinqiao.record.files import read
from xinqiao.record.schema import RunRecord


@dataclass(frozen=True)
class Program:
    """script: relative to the tree that it is run from."""

    script: Path
    arguments: list[str]
    ranks: int = 1


@dataclass(frozen=True)
class Tree:
    """A program's folder, the chip that it runs on, and the file that its record goes to."""

    folder: Path
    chip: str
    record: Path
    watched: dict[str, list[int]] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.record.with_suffix(".log")


def run(tree: Tree, program: Program, whole: Whole | None = None) -> list[RunRecord]:
    """The records of all ranks. whole: calls whose tensors are to be kept. InputError where the run left none."""
    request = Request(root=str(tree.folder.resolve()), watched=tree.watched, whole=whole)
    ask(tree.record, request)
    os.environ.setdefault("PYTHONHASHSEED", "0")  # the same order of sets on both sides
    try:
        settings = Settings(tree.chip, record=tree.record)
        launch(settings, program.script, program.arguments, ranks=program.ranks, folder=tree.folder, log=tree.log)
    finally:
        answered(tree.record)
    return [_read(ranked(tree.record, rank), tree) for rank in range(program.ranks)]


def _read(path: Path, tree: Tree) -> RunRecord:
    if not path.exists():
        last = tree.log.read_text(errors="replace").strip().splitlines()[-1:] or ["it printed nothing"]
        raise InputError(f"{tree.folder}: the run on {tree.chip} left no record: {last[0]}")
    record = read(path)
    assert isinstance(record, RunRecord)
    return record
