"""Where a string stands: does it reach a device, a back end, a key, a reader?"""

import ast
from typing import Literal

from xinqiao.port.source import Source
from xinqiao.port.words import DEVICE_NAME

Place = Literal["device", "key", "flag", "documentation", "message", "unknown"]
_DEVICE_FUNCTIONS = {
    "torch.device", "torch.autocast", "torch.amp.autocast", "torch.amp.GradScaler", "torch.Generator",
    "torch.set_default_device", "torch.amp.is_autocast_available", "torch.get_autocast_dtype", "torch.Stream",
    "torch.Event", "torch.load", "torch.get_device_module", "torch.distributed.device_mesh.init_device_mesh",
    "torch.amp.autocast_mode.autocast",
}  # fmt: skip
_DEVICE_METHODS = {"to", "type"}
_READERS = {"print", "warn", "info", "debug", "warning", "error", "critical", "exception", "log", "write", "echo"}


def place_of(node: ast.AST, source: Source) -> Place:
    """Where a string constant (or f-string) is used, as far as the code around it tells."""
    child, parent = node, source.parent(node)
    while isinstance(parent, ast.IfExp | ast.BoolOp | ast.BinOp | ast.JoinedStr | ast.FormattedValue | ast.Starred):
        if isinstance(parent, ast.IfExp) and child is parent.test:
            return "unknown"
        child, parent = parent, source.parent(parent)
    if isinstance(parent, ast.Attribute) and parent.attr == "format":  # "cuda:{}".format(i)
        call = source.parent(parent)
        return place_of(call, source) if call is not None else "unknown"
    if isinstance(parent, ast.keyword):
        return _keyword(parent, source)
    if isinstance(parent, ast.Call):
        return _argument(child, parent, source)
    return _statement(child, parent, source)


def _keyword(keyword: ast.keyword, source: Source) -> Place:
    name = keyword.arg or ""
    if name in ("help", "description", "epilog", "usage"):
        return "message"
    call = source.parent(keyword)
    if name in ("default", "choices") and isinstance(call, ast.Call):
        words = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        return "device" if any(DEVICE_NAME.search(w.strip("-").replace("-", "_")) for w in words) else "unknown"
    return "device" if DEVICE_NAME.search(name) else "unknown"


def _argument(child: ast.AST, call: ast.Call, source: Source) -> Place:
    if child is call.func:
        return "unknown"
    name = source.resolve(call.func) or ""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    plain = call.func.id if isinstance(call.func, ast.Name) else method
    if plain in _READERS or isinstance(source.parent(call), ast.Raise):
        return "message"
    if method == "add_argument" and isinstance(child, ast.Constant) and str(child.value).startswith("-"):
        return "flag"
    if plain in ("hasattr", "getattr", "setattr", "delattr"):
        return "key"
    if name in _DEVICE_FUNCTIONS or (method in _DEVICE_METHODS and not name):
        return "device"
    if method == "startswith" and isinstance(call.func, ast.Attribute):
        return "device" if is_device(call.func.value, source) else "unknown"
    if method in ("get", "pop", "setdefault") and child is call.args[0]:
        return "key"
    return "device" if name.startswith("torch.") and name.endswith("device") else "unknown"


def _statement(child: ast.AST, parent: ast.AST | None, source: Source) -> Place:
    if isinstance(parent, ast.Subscript):
        return "key"
    if isinstance(parent, ast.Expr):
        return "documentation"
    if isinstance(parent, ast.Raise | ast.Assert):
        return "message"
    if isinstance(parent, ast.Dict):
        return _in_dict(child, parent, source)
    if isinstance(parent, ast.Compare):
        others = [n for n in (parent.left, *parent.comparators) if n is not child]
        if any(is_device(n, source) for n in others):
            return "device"
        looked_up = child is parent.left and isinstance(parent.ops[0], ast.In | ast.NotIn)
        return "key" if looked_up else "unknown"
    if isinstance(parent, ast.List | ast.Tuple | ast.Set):
        return _named(source.parent(parent), parent, source)
    return _named(parent, child, source)


def _in_dict(child: ast.AST, parent: ast.Dict, source: Source) -> Place:
    if child in parent.keys:
        return "key"
    key = parent.keys[parent.values.index(child)]  # type: ignore[arg-type]
    if is_map_location(parent, source):
        return "device"
    named = isinstance(key, ast.Constant) and isinstance(key.value, str) and DEVICE_NAME.search(key.value)
    return "device" if named else "unknown"


def _named(parent: ast.AST | None, child: ast.AST, source: Source) -> Place:
    """By the name that the string is given: a variable, a parameter, a function's result."""
    names: list[str] = []
    if isinstance(parent, ast.Assign):
        names = [n for t in parent.targets for n in _target_names(t)]
    elif isinstance(parent, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        names = _target_names(parent.target)
    elif isinstance(parent, ast.arguments):
        names = [_parameter(parent, child)]
    elif isinstance(parent, ast.Return):
        function = source.scopes.scope(parent)
        names = [function.name] if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) else []
    elif isinstance(parent, ast.keyword):
        return _keyword(parent, source)
    elif isinstance(parent, ast.Compare):
        return _statement(child, parent, source)
    elif isinstance(parent, ast.For | ast.comprehension):
        names = _target_names(parent.target)
    return "device" if any(DEVICE_NAME.search(n) for n in names) else "unknown"


def _target_names(target: ast.AST) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, ast.Attribute):
        return [target.attr]
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return [str(target.slice.value)]
    return [n for t in target.elts for n in _target_names(t)] if isinstance(target, ast.Tuple | ast.List) else []


def _parameter(arguments: ast.arguments, default: ast.AST) -> str:
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    pairs = [
        *zip(with_default, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return next((a.arg for a, d in pairs if d is default), "")


def is_map_location(node: ast.AST | None, source: Source) -> bool:
    """Whether an expression is given as map_location: as a keyword, or by a variable of that name."""
    holder = source.parent(node) if node is not None else None
    if isinstance(holder, ast.Assign):
        return "map_location" in [n for t in holder.targets for n in _target_names(t)]
    return isinstance(holder, ast.keyword) and holder.arg == "map_location"


def is_device(node: ast.AST, source: Source) -> bool:
    """Whether an expression looks like a device or its name: `x.device`, `device.type`, `str(args.device)`."""
    if isinstance(node, ast.Call):
        return any(is_device(a, source) for a in node.args) or is_device(node.func, source)
    if isinstance(node, ast.Attribute):
        return bool(DEVICE_NAME.search(node.attr)) or (node.attr == "type" and is_device(node.value, source))
    if isinstance(node, ast.Subscript):
        return is_device(node.value, source) or is_device(node.slice, source)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(DEVICE_NAME.search(node.value))
    return isinstance(node, ast.Name) and bool(DEVICE_NAME.search(node.id))
