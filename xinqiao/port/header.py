"""The lines that a rewritten file gets once, after its imports."""

import ast
import re

from xinqiao.port.dialect import ACCELERATOR, MODULE, torch_name
from xinqiao.port.source import Edit, Source

LINES = {
    # What PyTorch was built for: unlike is_available(), this does not start the driver, which reads
    # CUDA_VISIBLE_DEVICES once and does not survive a fork.
    ACCELERATOR: '{name} = ({torch}.accelerator.current_accelerator() or {torch}.device("cuda")).type',
    MODULE: "{name} = {torch}.get_device_module({accelerator})",
}
_OURS = {
    ACCELERATOR: re.compile(r"\(?\w+\.accelerator\.current_accelerator\(\)"),
    MODULE: re.compile(r"\w+\.get_device_module\("),
}


def header(source: Source, needs: set[str], before: int) -> list[Edit]:
    """Insertions that define what the rewritten places use and the file does not define yet.

    before   offset of the first place that uses them
    """
    opening = _opening(source, before)
    top = source.scopes.names_at_top()
    there = _imports_torch(source.tree.body[:opening], source)
    lines = [] if there or not needs else ["import torch"]
    if source.target.style == "vendor":
        package = source.target.chip.torch.package
        lines += [f"import {package}"] if needs and package and package not in top.values() else []
        needs = set()
    torch = torch_name(source) if there else "torch"
    for name in (ACCELERATOR, MODULE):
        if name in needs and name not in top:
            lines.append(LINES[name].format(name=name, torch=torch, accelerator=ACCELERATOR))
    if not lines:
        return []
    text = source.newline.join(lines) + source.newline
    if not opening:
        at = _after_comments(source)
        return [Edit(at, at, text)]
    at = source.line_start((source.tree.body[opening - 1].end_lineno or 0) + 1)
    return [Edit(at, at, (source.newline if _ends_line(source.data, at) else source.newline * 2) + text)]


def defines_otherwise(source: Source, name: str) -> bool:
    """Whether the file uses that name for something else than a port does."""
    if name.encode() not in source.data:
        return False
    if any(a.arg == name for a in source.nodes(ast.arg)):
        return True
    stored = [n for n in source.nodes(ast.Name) if n.id == name and not isinstance(n.ctx, ast.Load)]
    return any(not _is_ours(source.parent(n), name, source) for n in stored)


def _is_ours(statement: ast.AST | None, name: str, source: Source) -> bool:
    if not isinstance(statement, ast.Assign):
        return False
    without = isinstance(statement.value, ast.Constant) and statement.value.value == "cuda"  # beside a missing torch
    return without or bool(_OURS[name].match(source.text(statement.value)))


def _ends_line(data: bytes, at: int) -> bool:
    return data[at - 1 : at] in (b"\n", b"\r")


def _opening(source: Source, before: int) -> int:
    """How many statements of the file come first: its documentation and its imports, all of them before an offset."""
    found = 0
    for number, statement in enumerate(source.tree.body, 1):
        is_doc = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not (is_doc or isinstance(statement, ast.Import | ast.ImportFrom) or _is_guarded_import(statement)):
            break
        end = source.end(statement)
        next_line = source.line_start((statement.end_lineno or 0) + 1)
        if next_line > before:
            break
        if not source.data[end:next_line].strip().startswith((b";", b"\\")):
            found = number
    return found


def _is_guarded_import(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Try | ast.If):
        return False
    return any(isinstance(n, ast.Import | ast.ImportFrom) for n in statement.body)


def _imports_torch(statements: list[ast.stmt], source: Source) -> bool:
    """Whether these statements import torch itself, under whatever name."""
    if "torch" not in source.scopes.names_at_top().values():
        return False
    imports = [n for s in statements for n in ast.walk(s) if isinstance(n, ast.Import)]
    return any(a.name == "torch" or (a.name.startswith("torch.") and not a.asname) for i in imports for a in i.names)


def _after_comments(source: Source) -> int:
    """Past a first line '#!' and an encoding line."""
    at = 0
    for line in source.data.splitlines(keepends=True)[:2]:
        if not line.startswith(b"#"):
            break
        at += len(line)
    return at
