"""Pinned host memory stays as it is.

What it does: `pin_memory=True` and `.pin_memory()` are found and left.
Why: PyTorch pins for the accelerator that is there; `pin_memory_device` is a device string, which another rule has.
Unsafe when: the vendor's PyTorch does not pin host memory; it then copies from ordinary memory.
Source: torch 2.13 torch/utils/data/_utils/pin_memory.py (it asks torch.accelerator).

    DataLoader(data, pin_memory=True)      →    the same
"""

import ast
from collections.abc import Iterator

from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Source

_REASON = "PyTorch pins for whatever accelerator is there"


@rule(ast.keyword)
def keyword(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.keyword)
    if node.arg == "pin_memory":
        yield Finding(node, "safe", _REASON)


@rule(ast.Call)
def method(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Call)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "pin_memory":
        yield Finding(node, "safe", _REASON)
