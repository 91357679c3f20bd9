"""The lines that a rewritten file gets once, after its imports."""

import ast

from xinqiao.port.dialect import ACCELERATOR, MODULE, torch_name
from xinqiao.port.source import Edit, Source

_LINES = {
    ACCELERATOR: "{name} = {torch}.accelerator.current_accelerator().type"
    ' if {torch}.accelerator.is_available() else "cuda"',
    MODULE: "{name} = {torch}.get_device_module({accelerator})",
}


def header(source: Source, needs: set[str]) -> list[Edit]:
    """Insertions that define what the rewritten places use and the file does not define yet."""
    top = source.scopes.names_at_top()
    lines = [] if "torch" in top.values() or not needs else ["import torch"]
    if source.target.style == "vendor":
        package = source.target.chip.torch.package
        lines += [f"import {package}"] if needs and package and package not in top.values() else []
        needs = set()
    for name in (ACCELERATOR, MODULE):
        if name in needs and name not in top:
            lines.append(_LINES[name].format(name=name, torch=torch_name(source), accelerator=ACCELERATOR))
    if not lines:
        return []
    at, before_docstring = _after_imports(source)
    text = source.newline.join(lines) + source.newline
    if not before_docstring:
        text = source.newline + text
    return [Edit(at, at, text)]


def _after_imports(source: Source) -> tuple[int, bool]:
    """(byte offset, whether it is the very beginning): after the last import of the block that opens the file."""
    last: ast.stmt | None = None
    for statement in source.tree.body:
        is_doc = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if isinstance(statement, ast.Import | ast.ImportFrom) or is_doc:
            last = statement
        elif not _is_guarded_import(statement):
            break
        else:
            last = statement
    if last is None:
        return _after_comments(source), True
    end = source.end(last)
    newline = source.data.find(source.newline.encode(), end)
    return (len(source.data), False) if newline < 0 else (newline + len(source.newline), False)


def _is_guarded_import(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Try | ast.If):
        return False
    return any(isinstance(n, ast.Import | ast.ImportFrom) for n in statement.body)


def _after_comments(source: Source) -> int:
    """Past a first line '#!' and an encoding line."""
    at = 0
    for line in source.data.splitlines(keepends=True)[:2]:
        if not line.startswith(b"#"):
            break
        at += len(line)
    return at
