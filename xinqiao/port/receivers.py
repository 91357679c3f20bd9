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
    if own:
        if all(own) and "torch" not in held:
            return "own"
        return "either" if any(own) else "torch"
    if "torch" in held:
        return "torch"
    # Nothing is known of it. Where every class with such a method also has its own `to`, `.to` means the same for all.
    defining = [methods for methods in project.methods.values() if name in methods]
    same = name == "cuda" and all("to" in methods for methods in defining)
    return "torch" if same or not defining else "unknown"
