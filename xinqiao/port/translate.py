"""Run-time translation of packages that a port may not edit: one generated module, one line in every entry script."""

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from xinqiao.port.analyse import Result
from xinqiao.port.engine import Ported
from xinqiao.port.source import Edit, Source, apply, parse
from xinqiao.port.target import Target

MODULE = "xinqiao_translate"
_ENTRY = re.compile(rb"""^if\s+\(?\s*__name__\s*==\s*["']__main__["']""", re.MULTILINE)
_EMPTY = "PACKAGES: tuple[str, ...] = ()"


def translate(root: Path, files: Iterable[str], result: Result, modules: Sequence[str], target: Target) -> None:
    """Add the module beside every entry script, and at the root; and its import to the scripts."""
    folders = {"."}
    ported = {p.path: p for p in result.ported}
    for path in files:
        if not path.endswith(".py") or (root / path).is_symlink() or path.endswith(f"{MODULE}.py"):
            continue
        data = (root / path).read_bytes()
        if not _ENTRY.search(data):
            continue
        folders.add(str(PurePosixPath(path).parent))
        found = ported.get(path)
        written = _with_import(path, found.data if found and found.data else data, target)
        if written is None:
            continue
        if found is None:
            found = Ported(path)
            result.ported.append(found)
        found.data = written
        result.before[path] = data
    text = module_text(modules)
    for folder in sorted(folders):
        path = str(PurePosixPath(folder) / f"{MODULE}.py")
        there = (root / path).read_bytes() if (root / path).is_file() else None
        if there != text:
            result.ported.append(Ported(path, data=text))
        if there is not None:
            result.before[path] = there


def module_text(modules: Sequence[str]) -> bytes:
    """The generated module for these packages."""
    template = Path(__file__).with_name("generated") / f"{MODULE}.py"
    named = ", ".join(f'"{m}"' for m in sorted(modules))
    return template.read_text("utf-8").replace(_EMPTY, f"PACKAGES: tuple[str, ...] = ({named},)").encode()


def _with_import(path: str, data: bytes, target: Target) -> bytes | None:
    """The script with the import as its first statement; None where it is there, or the script cannot be read."""
    try:
        source = parse(path, data, target)
    except (SyntaxError, ValueError, RecursionError, LookupError):
        return None
    imported = {a.name for s in source.tree.body if isinstance(s, ast.Import) for a in s.names}
    first = next((s for s in source.tree.body if not _comes_first(s)), None)
    if MODULE in imported or first is None:
        return None
    at = _start(first, source)
    line = f"import {MODULE}  # before the packages that it translates{source.newline}"
    return source.encode(apply(source.data, [Edit(at, at, line)]))


def _comes_first(statement: ast.stmt) -> bool:
    """Documentation and imports from __future__."""
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_text or (isinstance(statement, ast.ImportFrom) and statement.module == "__future__")


def _start(statement: ast.stmt, source: Source) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([source.start(statement), *(source.start(d) - 1 for d in decorators)])
