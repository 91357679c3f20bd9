"""A use of torch.cuda, under whatever name the file knows it."""

import ast

from xinqiao.port.cuda_names import RENAMED, SUBMODULES
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


def ask(node: ast.AST, reason: str, source: Source) -> Finding:
    """A place that needs a person, except on a chip that PyTorch knows as 'cuda'."""
    if source.target.audit:
        return Finding(node, "safe", "this chip's PyTorch device is 'cuda'")
    return Finding(node, "needs-you", reason)
