"""Find chips: the .toml files of this package, those of plug-ins, and files that a user names."""

import os
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from xinqiao.chips.read import FOLDER, read
from xinqiao.chips.spec import Chip
from xinqiao.errors import InputError, nearest

ORIGIN = "nvidia-h200"  # where code comes from, unless told otherwise
GROUP = "xinqiao.chips"  # entry points: any name = the package whose folder holds .toml files


def names() -> list[str]:
    """All chips, those of plug-ins included, sorted."""
    return sorted(_files()[0])


def load(name_or_path: str) -> Chip:
    """A chip by name ('ascend-910c'), by the tail of one ('910c'), or by the path of a .toml file."""
    if name_or_path.endswith(".toml") or os.sep in name_or_path:
        return read(Path(name_or_path))
    wanted = name_or_path.lower()
    built_in = FOLDER / f"{wanted}.toml"
    if built_in.exists():
        return read(built_in)
    files, _ = _files()
    found = [wanted] if wanted in files else sorted(name for name in files if name.endswith(f"-{wanted}"))
    if len(found) == 1:
        return read(files[found[0]])
    if found:
        raise InputError(f"chip '{name_or_path}' is ambiguous: {', '.join(found)}; give the whole name")
    tails = {name.partition("-")[2]: name for name in files}
    close = nearest(wanted, [*files, *tails])
    raise InputError(f"no chip '{name_or_path}'{close or '; `xinqiao chips` lists all'}")


def all_chips() -> list[Chip]:
    """Every chip that can be read, by name; `problems` says what was left out."""
    return _read_all()[0]


def problems() -> list[str]:
    """What is wrong with plug-ins, a line each; never fatal."""
    return _files()[1] + _read_all()[1]


def _read_all() -> tuple[list[Chip], list[str]]:
    chips, wrong = [], []
    for _, path in sorted(_files()[0].items()):
        try:
            chips.append(read(path))
        except InputError as error:
            if path.parent == FOLDER:
                raise
            wrong.append(f"plug-in: {error}")
    return chips, wrong


def _files() -> tuple[dict[str, Path], list[str]]:
    """Name -> file, and what is wrong with plug-ins. No plug-in's code is run."""
    files = {path.stem: path for path in FOLDER.glob("*.toml")}
    wrong = []
    for entry in entry_points(group=GROUP):
        folder = _folder(entry.value)
        if folder is None or not folder.is_dir():
            wrong.append(f"plug-in '{entry.name}': no package '{entry.value}'; its entry point must name one")
            continue
        found = sorted(folder.glob("*.toml"))
        if not found:
            wrong.append(f"plug-in '{entry.name}': no .toml file in {folder}")
        for path in found:
            if files.setdefault(path.stem, path) != path:
                wrong.append(f"plug-in '{entry.name}': {path} left out: {files[path.stem]} has its name")
    return files, wrong


def _folder(package: str) -> Path | None:
    """The folder of a package, found without importing it, parents of a dotted name included."""
    top, *rest = package.split(".")
    spec = find_spec(top) if top else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)), *rest)
