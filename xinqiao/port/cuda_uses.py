"""A use of torch.cuda, under whatever name the file knows it."""

import ast

from xinqiao.port.cuda_names import RENAMED, SUBMODULES
from xinqiao.port.dialect import ACCELERATOR
from xinqiao.port.rule import Finding
from xinqiao.port.source import Source

CUDA = "torch.cuda"


def part_of(node: ast.AST, source: Source) -> str | None:
    """What follows 'torch.cuda.' in the longest name at this place; '' for the module; None for anything else.

    Names of the submodules that torch.cuda repeats ('memory.empty_cache') come without the submodule.
    """
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return None
    parent = source.parent(node)
    longer = source.resolve(parent) if isinstance(parent, ast.Attribute) and parent.value is node else None
    if longer is not None and longer.startswith(CUDA):
        return None  # it is looked at instead
    if isinstance(node, ast.Call) and isinstance(parent, ast.Call) and parent.func is node:
        return None
    name = source.resolve(node)
    if name is None or not (name == CUDA or name.startswith(f"{CUDA}.")):
        return None
    part = name.removeprefix(CUDA).removeprefix(".")
    for submodule in SUBMODULES:
        part = part.removeprefix(f"{submodule}.")
    return RENAMED.get(part, part)


def is_written_to(node: ast.AST, source: Source) -> bool:
    """Whether the name, or an attribute of it, is assigned or deleted."""
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        return True
    parent = source.parent(node)
    return isinstance(parent, ast.Attribute) and not isinstance(parent.ctx, ast.Load)


def call_of(node: ast.AST, source: Source) -> ast.Call | None:
    """The call whose function this is."""
    parent = source.parent(node)
    return parent if isinstance(parent, ast.Call) and parent.func is node else None


def asks_for_cuda(test: ast.AST | None, source: Source) -> bool:
    """Whether an expression is `ACCELERATOR == "cuda"`, the guard that a port writes and advises."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(asks_for_cuda(value, source) for value in test.values)
    if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, *test.comparators]
    names = [s for s in sides if isinstance(s, ast.Name) and s.id == ACCELERATOR]
    return bool(names) and any(isinstance(s, ast.Constant) and s.value == "cuda" for s in sides)


def is_guarded(node: ast.AST, source: Source) -> bool:
    """Whether this code runs only where the accelerator is CUDA."""
    child, parent = node, source.parent(node)
    while parent is not None:
        if any(asks_for_cuda(test, source) for test in _before(child, parent)):
            return True
        child, parent = parent, source.parent(parent)
    return False


def _before(child: ast.AST, parent: ast.AST) -> list[ast.expr]:
    """What must be true for `child` to run, as far as `parent` says."""
    if isinstance(parent, ast.IfExp) and child is parent.body:
        return [parent.test]
    if isinstance(parent, ast.If) and child in parent.body:
        return [parent.test]
    if isinstance(parent, ast.BoolOp) and isinstance(parent.op, ast.And) and child in parent.values:
        return [value for value in parent.values if _is_before(value, child)]
    return []


def _is_before(value: ast.expr, child: ast.AST) -> bool:
    return (value.lineno, value.col_offset) < (getattr(child, "lineno", 0), getattr(child, "col_offset", 0))


def ask(node: ast.AST, reason: str, source: Source) -> Finding:
    """A place that needs a person, except where it runs on what PyTorch knows as 'cuda'."""
    if source.target.audit:
        return Finding(node, "safe", "this chip's PyTorch device is 'cuda'")
    if is_guarded(node, source):
        return Finding(node, "safe", "it runs only where the accelerator is CUDA")
    return Finding(node, "needs-you", reason)
