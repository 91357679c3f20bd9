"""Code that torch.jit.script may compile: it knows no variables of the module, so ACCELERATOR is not for it."""

import ast

from xinqiao.port.dialect import device, torch_name
from xinqiao.port.source import Source


def may_be_scripted(node: ast.AST, source: Source) -> bool:
    """Whether the project scripts something, and this stands in a function written for that: all is annotated.

    A parameter without annotation is a Tensor to torch.jit.script, so `forward` needs none.
    """
    if not source.project.scripts or source.target.style != "agnostic":
        return False
    function = source.scopes.scope(node)
    if not isinstance(function, ast.FunctionDef):
        return False
    given = [a for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs) if a.arg != "self"]
    if function.name == "forward" or function.decorator_list:
        return function.args.kwarg is None
    return function.args.kwarg is None and bool(given) and all(a.annotation is not None for a in given)


def device_for(node: ast.AST, source: Source) -> str:
    """The device's name for a comparison; what is compiled compares with 'cuda', as before the port."""
    name = device(source)
    if not may_be_scripted(node, source):
        return name
    return f'("cuda" if {torch_name(source)}.jit.is_scripting() else {name})'
