"""Whose method a call means: PyTorch's, or one that a class of the project defines under the same name."""

import ast
from typing import Literal

from xinqiao.port.source import Source

Whose = Literal["torch", "own", "either", "unknown"]


def owner(receiver: ast.AST, name: str, source: Source) -> Whose:
    """Whose `name` it is that `receiver` has."""
    project = source.project
    held = project.may_be(source.path, receiver)
    classes = [label.split()[1:] for label in held if label.split()[0] == "class"]
    own = [name in methods for methods in classes]
    if own and not _is_said_to_be_torchs(receiver, source):
        if all(own) and "torch" not in held:
            return "own"
        return "either" if any(own) else "torch"
    if own or "torch" in held or _is_said_to_be_torchs(receiver, source):
        return "torch"
    # Nothing is known of it. Where every class with such a method also has its own `to`, `.to` means the same for all.
    defining = [methods for methods in project.methods.values() if name in methods]
    same = name == "cuda" and all("to" in methods for methods in defining)
    return "torch" if same or not defining else "unknown"


def _is_said_to_be_torchs(receiver: ast.AST, source: Source) -> bool:
    """Whether it is a parameter annotated with PyTorch's class: `Tensor`, `Optional[Tensor]`, `Tensor | None`."""
    function = source.scopes.owner(receiver) if isinstance(receiver, ast.Name) else None
    if not isinstance(receiver, ast.Name) or not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    given = function.args
    named = (a for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg == receiver.id)
    return any(_is_torchs(a.annotation, source) for a in named)


def _is_torchs(annotation: ast.AST | None, source: Source) -> bool:
    if isinstance(annotation, ast.BinOp):
        sides = [s for s in (annotation.left, annotation.right) if not _is_none(s)]
        return all(_is_torchs(side, source) for side in sides)
    if isinstance(annotation, ast.Subscript) and (source.resolve(annotation.value) or "") == "typing.Optional":
        return _is_torchs(annotation.slice, source)
    return annotation is not None and (source.resolve(annotation) or "").startswith("torch.")


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
