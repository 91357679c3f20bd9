"""Whether a program goes on without an import that fails, or that it asks about first."""

import ast

from xinqiao.port.source import Source

_CATCH = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def is_guarded(node: ast.AST, source: Source) -> bool:
    """Inside a `try` that catches the failure and goes on, or an `if` that asks whether the package is there."""
    child, parent = node, source.parent(node)
    while parent is not None:
        if isinstance(parent, ast.Try) and child in parent.body and any(_goes_on(h) for h in parent.handlers):
            return True
        if isinstance(parent, ast.If) and child in parent.body and _asks(parent.test):
            return True
        child, parent = parent, source.parent(parent)
    return False


def _goes_on(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    caught = handler.type is None or any(_last(k) in _CATCH for k in kinds if k is not None)
    return caught and not any(isinstance(n, ast.Raise) for n in ast.walk(handler))


def _asks(test: ast.AST) -> bool:
    """`is_flash_attn_2_available()`, `find_spec("xformers") is not None`, `HAS_APEX`."""
    names = {_last(n).lower() for n in ast.walk(test) if isinstance(n, ast.Name | ast.Attribute)}
    return any("available" in n or "find_spec" in n or n.startswith(("has_", "_has_", "have_")) for n in names)


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
