"""Branches that only CUDA can take: a look at the device that guards one stays as it is."""

import ast
from collections.abc import Iterable, Iterator

from xinqiao.port.guards import is_guarded
from xinqiao.port.packages import package_of, table
from xinqiao.port.rule import Finding
from xinqiao.port.source import Source
from xinqiao.port.words import is_bound

_REASON = "what it guards is made for CUDA alone: another device goes the other way, as before the port"


def for_cuda_alone(node: ast.AST, source: Source) -> Finding | None:
    """`safe` for a test of the device whose branch takes a package, a module or a kernel made for CUDA."""
    guarded = _guarded_by(node, source)
    for piece in (n for branch in guarded for n in ast.walk(branch)):
        if _is_made_for_cuda(piece, source):
            return Finding(node, "safe", _REASON)
    return None


def _guarded_by(node: ast.AST, source: Source) -> Iterable[ast.AST]:
    """What runs only where the test that `node` is part of is true."""
    child, parent, true = node, source.parent(node), True
    while isinstance(parent, ast.BoolOp | ast.UnaryOp | ast.Compare):
        if isinstance(parent, ast.BoolOp) and isinstance(parent.op, ast.And) != true:
            return []
        turned = isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not)
        if turned or (isinstance(parent, ast.Compare) and isinstance(parent.ops[0], ast.NotEq | ast.NotIn)):
            true = not true
        child, parent = parent, source.parent(parent)
    if isinstance(parent, ast.If | ast.IfExp) and child is parent.test:
        branch = parent.body if true else parent.orelse
        return branch if isinstance(branch, list) else [branch]
    return [parent] if isinstance(parent, ast.Assert) and child is parent.test and true else []


def _is_made_for_cuda(node: ast.AST, source: Source) -> bool:
    if isinstance(node, ast.Import):
        return any(_is_module_for_cuda(a.name, source) for a in node.names) and not is_guarded(node, source)
    if isinstance(node, ast.ImportFrom):
        module = source.scopes.module_of(node)
        return _is_module_for_cuda(module, source) and not is_guarded(node, source)
    if isinstance(node, ast.Call):
        return _is_call_for_cuda(node, source)
    return isinstance(node, ast.Assert) and any(_packages_in(node.msg))


def _is_call_for_cuda(node: ast.Call, source: Source) -> bool:
    if isinstance(node.func, ast.Subscript):  # kernel[grid](...)
        function = node.func.value
        return isinstance(function, ast.Name) and function.id in source.around.sites
    if isinstance(node.func, ast.Name) and _imports_for_cuda(node.func.id, source):
        return True
    name = source.scopes.resolve(node.func)
    return name is not None and _is_module_for_cuda(name.rpartition(".")[0] or name, source)


def _imports_for_cuda(function: str, source: Source) -> bool:
    """Whether a function of this file begins with an import of what is made for CUDA."""
    same = (f for f in source.nodes(ast.FunctionDef) if f.name == function)
    imports = (s for f in same for s in f.body if isinstance(s, ast.Import | ast.ImportFrom))
    return any(_is_made_for_cuda(i, source) for i in imports)


def _is_module_for_cuda(module: str, source: Source) -> bool:
    """Another's package without a substitute, a compiled `*_cuda` module, or a file named for the kernels in it."""
    if module.partition(".")[0] == "torch":
        return False
    if package := package_of(module):
        return not any(s == package or s.startswith(f"{package}.") for s in table().substitutes)
    found = source.project.modules.find(module)
    if not is_bound(module.rpartition(".")[2] if found else module):
        return False
    if found is None or not source.project.complete:
        return True
    imported = source.project.modules.imported.get(found[0], {}).values()
    return any(_is_module_for_cuda(name, source) for name in imported if package_of(name))


def _packages_in(message: ast.AST | None) -> Iterator[str]:
    """Packages made for CUDA that a failed assertion would speak of."""
    for node in ast.walk(message) if message is not None else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = (w.strip(".,:;()'\"`").lower() for w in node.value.split())
            yield from (word for word in words if word != "cuda" and package_of(word.replace("-", "_")))
