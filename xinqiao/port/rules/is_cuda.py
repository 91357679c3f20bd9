"""`x.is_cuda` becomes a look at the device's type.

What it does: an attribute `is_cuda` of something that the project does not define is rewritten.
Why: it is False on every other vendor's device.

    if x.is_cuda:                          →    if x.device.type == ACCELERATOR:
"""

import ast
from collections.abc import Iterator

from xinqiao.port.dialect import ACCELERATOR, device
from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Edit, Source

_NEEDS_NO_PARENTHESES = ast.If | ast.While | ast.Assign | ast.Return | ast.keyword | ast.Assert


@rule(ast.Attribute)
def attribute(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Attribute)
    if node.attr != "is_cuda" or not isinstance(node.ctx, ast.Load):
        return
    if "is_cuda" in source.project.own_methods:
        yield Finding(node, "safe", "an attribute that this project defines")
        return
    start, end = source.start(node), source.end(node)
    name = Edit(end - len("is_cuda"), end, f"device.type == {device(source)}")
    if isinstance(source.parent(node), _NEEDS_NO_PARENTHESES):
        edits: tuple[Edit, ...] = (name,)
    else:
        edits = (Edit(start, start, "("), Edit(name.start, name.end, name.text + ")"))
    yield Finding(node, "rewritten", "the device's type says it on every device", edits, (ACCELERATOR,))
