"""CUDA-bound places in installed packages that the project imports, and what a port can do about them."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from xinqiao.errors import InputError, nearest
from xinqiao.port.analyse import NOT_OURS, Result, analyse
from xinqiao.port.engine import Ported
from xinqiao.port.installed import Package, imported_packages, known, place_of
from xinqiao.port.outcome import summary_of
from xinqiao.port.target import Target
from xinqiao.port.translate import translate
from xinqiao.record.schema import Dependency, Occurrence, PortedFile


@dataclass(frozen=True)
class Packages:
    """patch: packages of which a ported copy goes into the project. translate: packages translated at import."""

    patch: tuple[str, ...] = ()
    translate: tuple[str, ...] = ()


def audit(project: Path, files: Collection[str], result: Result, target: Target, wanted: Packages) -> None:
    """Add the packages to the record, and the patched and translated ones to what is written."""
    root = project if project.is_dir() else project.parent
    packages = imported_packages(root, files)
    patched, translated = _chosen(wanted.patch, packages), _chosen(wanted.translate, packages)
    listed = []
    for package in packages:
        looked_at = [(m, analyse(p, target)) for m in package.modules if (p := place_of(package, m)) is not None]
        found = _dependency(package, looked_at, target)
        if package.name in patched:
            found.choice = "patch"
            for module, inside in looked_at:
                result.ported += _copy(root, package, module, inside)
        elif package.name in translated:
            found.choice = "translate"
        if found.choice or any(o.verdict != "safe" for o in found.occurrences):
            listed.append(found)
    result.record.dependencies = listed
    modules = [m for p in packages if p.name in translated for m in p.modules]
    if modules:
        translate(root, files, result, modules, target)
    _note_files(result)


def _chosen(names: Collection[str], packages: list[Package]) -> set[str]:
    """The packages meant, by their own name or that of a module."""
    by_name = {n.lower().replace("_", "-"): p.name for p in packages for n in (*p.modules, p.name)}
    for name in names:
        if name.lower().replace("_", "-") not in by_name:
            raise InputError(f"no installed package '{name}' that the project imports{nearest(name, by_name)}")
    return {by_name[n.lower().replace("_", "-")] for n in names}


def _dependency(package: Package, looked_at: list[tuple[str, Result]], target: Target) -> Dependency:
    places = [o for module, r in looked_at for o in _inside(package, module, r)]
    files = [
        PortedFile(file=f.file, changed=f.changed, problem=f.problem) for _, r in looked_at for f in r.record.files
    ]
    lines = sum(r.record.summary.lines for _, r in looked_at)
    seconds = sum(r.record.summary.seconds for _, r in looked_at)
    return Dependency(
        package=package.name,
        version=package.version,
        modules=package.modules,
        choice="",
        known=_known_of(package, target),
        occurrences=places,
        summary=summary_of(target, files, places, lines, seconds),
    )


def _inside(package: Package, module: str, result: Result) -> Iterator[Occurrence]:
    is_folder = (package.home / module).is_dir()
    for o in result.record.occurrences:
        o.file = f"{module}/{o.file}" if is_folder else o.file
        yield o


def _known_of(package: Package, target: Target) -> str:
    device = target.chip.torch.device
    for row in known().branches:
        if row.package == package.name.lower() and device in row.devices:
            if _numbers(package.version) < _numbers(row.version):
                return f"{row.package} {row.version} has branches for '{device}' ({row.source}): install that one"
            return f"this version has branches for '{device}' ({row.source}): most of these places need nothing"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version.partition("+")[0])[:3])


def _copy(root: Path, package: Package, module: str, inside: Result) -> Iterator[Ported]:
    """All files of a module, ported, with its licence."""
    place = package.home / module
    if not place.is_dir():
        place = package.home / f"{module}.py"
    written = {p.path: p.data for p in inside.ported if p.data is not None}
    if (root / place.name).exists():
        raise InputError(f"{root / place.name}: already there: a ported copy of {package.name} has no place")
    if place.is_file():
        yield Ported(place.name, data=written.get(place.name, place.read_bytes()))
        return
    for path in sorted(p for p in place.rglob("*") if p.is_file() and not set(p.relative_to(place).parts) & NOT_OURS):
        name = path.relative_to(place).as_posix()
        yield Ported(f"{module}/{name}", data=written.get(name, path.read_bytes()))
    for licence in package.licences:
        if not (place / licence.name).exists():
            yield Ported(f"{module}/{licence.name}", data=licence.read_bytes())


def _note_files(result: Result) -> None:
    """The record's list of files, with what came to it."""
    files = {f.file: f for f in result.record.files}
    for p in result.ported:
        if p.data is not None and p.path not in files:
            files[p.path] = PortedFile(file=p.path, changed=False, added=True)
        elif p.data is not None:
            files[p.path].changed = not files[p.path].added
    result.record.files = sorted(files.values(), key=lambda f: f.file)
    result.record.summary.changed = sum(f.changed for f in result.record.files)
