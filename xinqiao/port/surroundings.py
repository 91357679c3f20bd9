"""What the files of a project tell by their names and words alone: which folders are packages, who calls a kernel."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from xinqiao.port.cuda_source import exported, is_device_source

_TRITON = re.compile(rb"@(?:\w+\.)?jit\b[^\n]*\n(?:[ \t]*(?:@[^\n]*)?\n)*[ \t]*def[ \t]+(\w+)")
MOST_SITES = 20  # that are told of one kernel


@dataclass(frozen=True)
class Surroundings:
    """packages: folders with an __init__.py, '' for the project itself. sites: kernel → 'file:line' of its calls."""

    packages: frozenset[str] = frozenset()
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def look_around(files: Iterable[tuple[str, bytes]]) -> Surroundings:
    """The surroundings of every file of a project, from (path, bytes) of them all."""
    files = list(files)
    paths = [PurePosixPath(path) for path, _ in files]
    packages = frozenset(_folder(p) for p in paths if p.name == "__init__.py")
    return Surroundings(packages, _sites(files, _kernels(files)))


def _folder(path: PurePosixPath) -> str:
    return "" if path.parent == PurePosixPath() else path.parent.as_posix()


def _kernels(files: list[tuple[str, bytes]]) -> set[str]:
    found: set[str] = set()
    for path, data in files:
        if path.endswith(".py") and (b"triton" in data or b"numba" in data):
            found.update(m[1].decode() for m in _TRITON.finditer(data))
        elif is_device_source(path) and (b"PYBIND11_MODULE" in data or b"TORCH_LIBRARY" in data):
            found.update(e.name for e in exported(data.decode("utf-8", "replace")))
    return found


def _sites(files: list[tuple[str, bytes]], kernels: set[str]) -> dict[str, tuple[str, ...]]:
    """Where Python launches `kernel[grid](...)` or calls `module.function(...)`."""
    if not kernels:
        return {}
    called = re.compile(rb"(?<![\w'\"])(" + b"|".join(k.encode() for k in sorted(kernels)) + rb")\s*(\[|\()")
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path, data in files:
        if not path.endswith(".py"):
            continue
        starts = [0, *(m.end() for m in re.finditer(rb"\n", data))]
        for match in called.finditer(data):
            line = bisect_right(starts, match.start())
            begin = starts[line - 1]
            before = data[begin : match.start()]
            if not before.lstrip().startswith((b"def ", b"#")):
                found[match[1].decode()].append(f"{path}:{line}")
    return {name: tuple(sites[:MOST_SITES]) for name, sites in found.items()}
