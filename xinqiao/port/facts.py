"""What the files of a project need to know about each other; plain data, so that it passes between processes."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass

_CUDA_METHODS = ("cuda", "is_cuda")


@dataclass(frozen=True)
class Facts:
    """own_methods: methods named like PyTorch's CUDA ones that classes define themselves."""

    own_methods: frozenset[str] = frozenset()


def facts_of(tree: ast.Module) -> Facts:
    """What one file tells the others."""
    classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    methods = (f for c in classes for f in c.body if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef))
    return Facts(frozenset(f.name for f in methods if f.name in _CUDA_METHODS))


def together(files: Iterable[Facts]) -> Facts:
    """What all files of a project tell."""
    return Facts(frozenset(name for f in files for name in f.own_methods))
