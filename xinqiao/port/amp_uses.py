"""Uses of `torch.cuda.amp`'s names: as functions that are called, or as values that only their reader understands."""

import ast

from xinqiao.port.source import Source

OLD = ("torch.cuda.amp", "torch.cuda.amp.autocast_mode", "torch.cuda.amp.grad_scaler", "torch.cuda.amp.common")
PARTS = ("autocast", "GradScaler", "custom_fwd", "custom_bwd")


def part_of(name: str | None) -> str | None:
    """'autocast' for any of the names that torch.cuda.amp.autocast goes by."""
    if name is None or not name.startswith("torch.cuda.amp"):
        return None
    module, _, part = name.rpartition(".")
    return part if module in OLD else None


def has_values(source: Source) -> bool:
    """Whether the file hands one of the names around, as in `mode = autocast if half else nullcontext`.

    Then its imports stay: torch.amp's functions take the device's name first, and who calls the value does not give it.
    """
    return any(is_value(node, source) for kind in (ast.Name, ast.Attribute) for node in source.kinds.get(kind, ()))


def is_value(node: ast.AST, source: Source) -> bool:
    """Whether it is such a name, neither called, nor a decorator, nor another name for it."""
    parent = source.parent(node)
    if isinstance(parent, ast.Attribute) or (isinstance(parent, ast.Call) and parent.func is node):
        return False
    if not isinstance(getattr(node, "ctx", None), ast.Load):
        return False
    name = source.resolve(node)
    if name is None or not name.startswith("torch.cuda.amp"):
        return False
    part = part_of(name)
    if part in ("custom_fwd", "custom_bwd") and is_decorator(node, parent):
        return False
    return not (is_alias(node, parent) and (part in PARTS or name == "torch.cuda.amp"))


def is_alias(node: ast.AST, parent: ast.AST | None) -> bool:
    """Whether it is `name = torch.cuda.amp.autocast`: calls of that name are known as calls of autocast."""
    simple = isinstance(parent, ast.Assign) and len(parent.targets) == 1 and isinstance(parent.targets[0], ast.Name)
    return simple and isinstance(node, ast.Attribute)


def is_decorator(node: ast.AST, parent: ast.AST | None) -> bool:
    return isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef) and node in parent.decorator_list
