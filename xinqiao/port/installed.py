"""Installed packages that a project imports: found by their metadata; none of them is imported."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from msgspec import Struct, convert

_IMPORT = re.compile(r"^[ \t]*(?:import|from)[ \t]+([^\n#;]+)", re.MULTILINE)
_LICENCE = re.compile(r"(?i)(licen[cs]e|copying|notice)")


class Branches(Struct, forbid_unknown_fields=True):
    """A package that runs on other devices by itself."""

    package: str
    version: str  # the first one known to
    devices: list[str]
    source: str


class _Known(Struct, forbid_unknown_fields=True, rename="kebab"):
    left_out: list[str]
    branches: list[Branches]


@dataclass
class Package:
    """modules: what the project imports of it, as files or folders of `home`. licences: texts that go with a copy."""

    name: str
    version: str
    home: Path
    modules: list[str] = field(default_factory=list)
    licences: list[Path] = field(default_factory=list)


@cache
def known() -> _Known:
    """What the data file says."""
    return convert(tomllib.loads(Path(__file__).with_name("dependencies.toml").read_text("utf-8")), type=_Known)


def imported_packages(root: Path, files: Iterable[str]) -> list[Package]:
    """By name. The project's own .venv comes first, then the environment that runs this."""
    by_module = dict(_modules(root))
    own = {p.stem for p in [*root.iterdir(), *(root / "src").glob("*")] if p.is_dir() or p.suffix == ".py"}
    wanted = by_module.keys() - own
    found: set[str] = set()
    for path in files:
        if path.endswith(".py") and not (root / path).is_symlink():
            found |= _imports((root / path).read_bytes().decode("utf-8", "replace"), wanted - found)
    packages: dict[str, Package] = {}
    for module in sorted(found):
        distribution = by_module[module]
        name = distribution.name
        home = Path(str(distribution.locate_file("")))
        new = Package(name, distribution.version, home, licences=_licences(distribution))
        packages.setdefault(name, new).modules.append(module)
    return sorted(packages.values(), key=lambda p: p.name.lower())


def place_of(package: Package, module: str) -> Path | None:
    """The folder or file of a module; None where it is neither, such as an extension alone."""
    folder, file = package.home / module, package.home / f"{module}.py"
    return next((p for p in (folder, file) if p.exists()), None)


def _imports(text: str, wanted: set[str]) -> set[str]:
    """Which of the wanted modules a program imports; one search where it mentions none."""
    mentioned = {w for m in _IMPORT.finditer(text) for w in re.findall(r"\w+", m[1])}
    if not mentioned & wanted:
        return set()
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level]
    return {name.partition(".")[0] for name in names} & wanted


def _modules(root: Path) -> Iterator[tuple[str, Distribution]]:
    """(top-level module, its distribution); the last one of a module counts in a dict, so the nearest comes last."""
    own = [str(p) for v in (".venv", "venv") for p in sorted((root / v).glob("lib/python*/site-packages"))]
    seen: set[str] = set()
    found = []
    for distribution in distributions(path=[*own, *(p for p in sys.path if p)]):
        name = distribution.name
        if not name or name in seen or _is_left_out(name):
            continue
        seen.add(name)
        found += [(module, distribution) for module in _top_level(distribution)]
    yield from reversed(found)


def _is_left_out(name: str) -> bool:
    plain = name.lower().replace("_", "-")
    return any(plain == word or (word.endswith("-") and plain.startswith(word)) for word in known().left_out)


def _top_level(distribution: Distribution) -> set[str]:
    listed = distribution.read_text("top_level.txt")
    if listed is not None:
        return {name.strip() for name in listed.splitlines() if name.strip()}
    firsts = {f.parts[0] for f in distribution.files or () if f.suffix in (".py", ".so", ".pyd")}
    return {f.partition(".")[0] for f in firsts if f.partition(".")[0].isidentifier()}


def _licences(distribution: Distribution) -> list[Path]:
    listed = (f for f in distribution.files or () if f.parts[0].endswith("-info") and _LICENCE.match(f.name))
    return [p for p in (Path(str(distribution.locate_file(f))) for f in listed) if p.is_file()]
