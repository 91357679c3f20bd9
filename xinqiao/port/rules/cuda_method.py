"""`.cuda()` becomes `.to(...)`.

What it does: tensors, modules and storages move with `.to`; a device given to `.cuda` stays, `non_blocking` stays. A
method of that name that the project itself defines is left alone.
Why: only CUDA tensors have the method.

    model.cuda()                           →    model.to(ACCELERATOR)
    x.cuda(rank, non_blocking=True)        →    x.to(rank, non_blocking=True)
"""

import ast
from collections.abc import Iterator

from xinqiao.port.dialect import ACCELERATOR, device, torch_name
from xinqiao.port.places import is_map_location
from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Edit, Source


@rule(ast.Call)
def call(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Call)
    function = node.func
    if not (isinstance(function, ast.Attribute) and function.attr == "cuda") or source.resolve(function):
        return
    if "cuda" in source.project.own_methods:
        reason = "a class of this project has a method cuda(): if this is a tensor or module, write .to(ACCELERATOR)"
        yield Finding(node, "needs-you", reason)
        return
    if len(node.args) > 1 or any(isinstance(a, ast.Starred) for a in node.args):
        yield Finding(node, "needs-you", "write .to(device) with the same arguments")
        return
    if _is_storage(function.value, source):
        yield from _storage(node, function, source)
        return
    end = source.end(function)
    name = Edit(end - len("cuda"), end, "to")
    if node.args or any(k.arg == "device" for k in node.keywords):
        yield Finding(node, "rewritten", "every tensor and module has .to", (name,))
        return
    opening = source.data.index(b"(", end) + 1
    comma = ", " if node.keywords else ""
    edits = (name, Edit(opening, opening, device(source) + comma))
    yield Finding(node, "rewritten", "every tensor and module has .to", edits, (ACCELERATOR,))


def _is_storage(receiver: ast.AST, source: Source) -> bool:
    """Whether it is the first parameter of a function given as map_location: a storage, not a tensor."""
    scope = source.scopes.scope(receiver)
    if not (isinstance(scope, ast.Lambda) and isinstance(receiver, ast.Name) and scope.args.args):
        return False
    return scope.args.args[0].arg == receiver.id and is_map_location(scope, source)


def _storage(node: ast.Call, function: ast.Attribute, source: Source) -> Iterator[Finding]:
    index = f", {source.text(node.args[0])}" if node.args else ""
    edit = Edit(
        source.end(function) - len("cuda"),
        source.end(node),
        f"to(device={torch_name(source)}.device({device(source)}{index}))",
    )
    yield Finding(node, "rewritten", "a storage moves with .to(device=...)", (edit,), (ACCELERATOR, "torch"))
