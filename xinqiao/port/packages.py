"""Packages that are made for CUDA, and which of their modules have a substitute: packages.toml, as data."""

import ast
import re
from functools import cache
from pathlib import Path

import msgspec

HERE = Path(__file__).parent


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"what": "is"}):
    """what: 'fused attention kernels for CUDA'. next: what a person does. source: who says so."""

    what: str
    next: str
    source: str


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """substitutes: a module → the file of `substitutes/` that has its functions."""

    packages: dict[str, Package]
    substitutes: dict[str, str]


@cache
def table() -> Table:
    return msgspec.toml.decode((HERE / "packages.toml").read_bytes(), type=Table)


def package_of(module: str) -> str | None:
    """The longest name in the table that a module is, or lies in: 'apex.amp' for 'apex.amp.handle'."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((n for n in names if n in table().packages), None)


@cache
def substitute_text(file: str) -> str:
    """A file of `substitutes/`, as it is."""
    return (HERE / "substitutes" / f"{file}.py").read_text()


@cache
def substitute_names(module: str) -> frozenset[str]:
    """What the substitute of a module has; empty where there is none."""
    file = table().substitutes.get(module)
    if file is None:
        return frozenset()
    for node in ast.parse(substitute_text(file)).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return frozenset(ast.literal_eval(node.value))
    raise ValueError(f"{file}: no __all__")


@cache
def words() -> re.Pattern[bytes]:
    """Finds the first part of any name in the table."""
    firsts = sorted({n.split(".")[0] for n in table().packages})
    return re.compile(rb"\b(?:" + b"|".join(re.escape(f).encode() for f in firsts) + rb")\b")
