"""`.cuda()` becomes `.to(...)`.

What it does: tensors, modules and storages move with `.to`; a device given to `.cuda` stays, `non_blocking` stays, and
None still means the current device. A method of that name that a class of the project defines is left, and the calls
that visibly mean it; its body is ported as any other code.
Why: only CUDA tensors have the method.
Unsafe when: an object of a package outside the project has a `cuda` and a `to` that do different things.
Source: PyTorch 2.13, torch.Tensor.cuda, torch.Tensor.to, torch.nn.Module.cuda, torch.nn.Module.to.

    model.cuda()                           →    model.to(ACCELERATOR)
    x.cuda(rank, non_blocking=True)        →    x.to(rank, non_blocking=True)
"""

import ast
from collections.abc import Iterator

from xinqiao.port.dialect import ACCELERATOR, device, torch_name
from xinqiao.port.places import is_map_location
from xinqiao.port.receivers import owner
from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Edit, Source

_REASON = "every tensor and module has .to"
_ONE_OF_BOTH = "a class of this project has a method cuda() too: for a tensor or module, write .to(ACCELERATOR)"


@rule(ast.Call)
def call(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Call)
    function = node.func
    if not (isinstance(function, ast.Attribute) and function.attr == "cuda"):
        return
    if (source.resolve(function) or "").startswith("torch."):
        yield Finding(node, "needs-you", "the method without an object: write x.to(ACCELERATOR)")
        return
    whose = owner(function.value, "cuda", source)
    if whose == "own":
        yield Finding(node, "safe", "the method of a class of this project, whose body is ported")
    elif whose == "either":
        yield Finding(node, "needs-you", _ONE_OF_BOTH)
    elif len(node.args) > 2 or any(isinstance(a, ast.Starred) for a in node.args):
        yield Finding(node, "needs-you", "write .to(device) with the same arguments")
    elif _is_storage(function.value, source):
        yield from _storage(node, function, source)
    else:
        yield from _moved(node, function, source, risky=whose == "unknown")


def _moved(node: ast.Call, function: ast.Attribute, source: Source, *, risky: bool) -> Iterator[Finding]:
    end = source.end(function)
    edits = [Edit(end - len("cuda"), end, "to")]
    needs: tuple[str, ...] = ()
    target = node.args[0] if node.args else next((k.value for k in node.keywords if k.arg == "device"), None)
    if len(node.args) == 2:  # .to takes a dtype in second place
        edits.append(Edit(source.start(node.args[1]), source.start(node.args[1]), "non_blocking="))
    if target is None:
        opening = source.data.index(b"(", end) + 1
        edits.append(Edit(opening, opening, device(source) + (", " if node.keywords else "")))
        needs = (ACCELERATOR,)
    elif _may_be_none(target, source):
        if not isinstance(target, ast.Name | ast.Attribute | ast.Constant):
            yield Finding(node, "needs-you", "its device may be None, which .to does not take: give .to a device")
            return
        text = source.text(target)
        current = (
            device(source) if isinstance(target, ast.Constant) else f"{device(source)} if {text} is None else {text}"
        )
        edits.append(Edit(source.start(target), source.end(target), current))
        needs = (ACCELERATOR,)
    reason = _ONE_OF_BOTH if risky else _REASON
    yield Finding(node, "rewritten", reason, tuple(edits), needs, risky=risky)


def _may_be_none(target: ast.AST, source: Source) -> bool:
    """Whether the current device may be meant: `.to(None)` would leave the tensor where it is."""
    if not isinstance(target, ast.Constant) and _is_tested(target, source):
        return False
    return "none" in source.project.may_be(source.path, target)


def _is_tested(target: ast.AST, source: Source) -> bool:
    """Whether the code stands in the branch of `if target is not None`."""
    child, parent = target, source.parent(target)
    text = source.text(target)
    while parent is not None and not isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        if isinstance(parent, ast.If) and child in parent.body and source.text(parent.test) == f"{text} is not None":
            return True
        child, parent = parent, source.parent(parent)
    return False


@rule(ast.ClassDef)
def override(node: ast.AST, source: Source) -> Iterator[Finding]:
    """A module that moves more than its parameters."""
    assert isinstance(node, ast.ClassDef)
    slot = f"{source.path}:{node.lineno}:{node.name}"
    if "Module" not in source.project.methods.get(slot, ()):
        return
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "cuda":
            name = ast.copy_location(ast.Name("cuda"), method)
            name.end_lineno, name.end_col_offset = method.lineno, method.col_offset + len("def cuda")
            reason = "your own cuda(): its body is ported, and calls that visibly mean it keep the name"
            yield Finding(name, "safe", reason)


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
