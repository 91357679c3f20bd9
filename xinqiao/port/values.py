"""What an expression may stand for: the slots that its value comes from.

A slot is a place that holds values: a variable of one scope, an attribute or key by its name ('.device'), what a
function returns, or one string of the program.
"""

import ast
from collections.abc import Iterator

from xinqiao.port.known import slot_of
from xinqiao.port.sinks import (
    BACKEND_RESULTS,
    DEVICE_RESULTS,
    FIELD_MAKERS,
    RECORD_MAKERS,
    SAME_FUNCTIONS,
    SAME_METHODS,
    SAME_OBJECT_METHODS,
)
from xinqiao.port.source import Source
from xinqiao.port.words import is_bound

DEVICE, BACKEND, NONE, TORCH = "#device", "#backend", "#none", "#torch"
_PASSING = {"get", "getattr", "pop", "setdefault", "getenv", "next"}


def is_interesting(node: ast.AST) -> bool:
    """A string with a CUDA word, or an f-string with one in its fixed text."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and is_bound(node.value)
    return isinstance(node, ast.JoinedStr) and any(is_interesting(v) for v in node.values)


def plain_name(function: ast.AST) -> str:
    """'f' of `f` and of `a.b.f`."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


class Values:
    """The slots of one file's expressions."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._slots: dict[ast.AST, list[str]] = {}

    def slot(self, node: ast.AST) -> str:
        return slot_of(self.source.path, node)

    def asked(self, node: ast.AST) -> str:
        """The slot by which a rule asks what an expression may be."""
        return self.slot(node) + "?:"

    def variable(self, scope: ast.AST, name: str) -> str:
        """The slot of a name in a scope; a class's names are attributes."""
        if isinstance(scope, ast.ClassDef):
            return f".{name}"
        where = f"{getattr(scope, 'lineno', '')}.{getattr(scope, 'col_offset', '')}"
        return f"{self.source.path}:{'' if isinstance(scope, ast.Module) else where}:{name}"

    def returned(self, function: ast.AST) -> str:
        return f"{self.source.path}:{getattr(function, 'lineno', 0)}:return {getattr(function, 'name', '')}"

    def of(self, node: ast.AST | None) -> list[str]:
        """Slots whose whole value may be the expression's value."""
        if node is None:
            return []
        if (known := self._slots.get(node)) is None:
            known = self._slots[node] = self._of(node)
        return known

    def _of(self, node: ast.AST) -> list[str]:
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.JoinedStr):
            return self._joined(node)
        if isinstance(node, ast.BinOp):
            return self._operation(node)
        return [slot for part in _parts(node) for slot in self.of(part)] + self._whole(node)

    def _whole(self, node: ast.AST) -> list[str]:
        if isinstance(node, ast.Dict):
            return [self.slot(node)] if any(k is not None and is_interesting(k) for k in node.keys) else []
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ):
            return [f".{node.slice.value}"]
        return []

    def _constant(self, node: ast.Constant) -> list[str]:
        if node.value is None:
            return [NONE]
        return [self.slot(node)] if is_interesting(node) else []

    def _name(self, node: ast.Name) -> list[str]:
        owner = self.source.scopes.owner(node)
        if owner is None:
            return [f"@{star}.{node.id}" for star in self.source.scopes.stars]
        return [self.variable(owner, node.id)]

    def _attribute(self, node: ast.Attribute) -> list[str]:
        if node.attr in ("type", "index", "T", "data"):  # a device's type is its name; a tensor's data is a tensor
            return self.of(node.value) if node.attr != "index" else []
        if dotted := self.source.scopes.resolve(node):
            return [TORCH] if dotted.startswith("torch.") else [f"@{dotted}"]
        return [f".{node.attr}"]

    def _joined(self, node: ast.JoinedStr) -> list[str]:
        own = [self.slot(node)] if is_interesting(node) else []
        first = node.values[0] if node.values else None
        return own + (self.of(first.value) if isinstance(first, ast.FormattedValue) else [])

    def _operation(self, node: ast.BinOp) -> list[str]:
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            starts = str(node.left.value).startswith("%s")
            right = node.right.elts[0] if isinstance(node.right, ast.Tuple) and node.right.elts else node.right
            return self.of(node.left) + (self.of(right) if starts else [])
        if isinstance(node.op, ast.BitOr):  # dictionaries
            return self.of(node.left) + self.of(node.right)
        return self.of(node.left) if isinstance(node.op, ast.Add | ast.Mult) else []

    def _call(self, node: ast.Call) -> list[str]:
        name = plain_name(node.func)
        dotted = self.source.scopes.resolve(node.func) or ""
        if dotted in DEVICE_RESULTS or dotted in BACKEND_RESULTS:
            return [DEVICE if dotted in DEVICE_RESULTS else BACKEND]
        if name in _PASSING:
            return [*self._fetched(node), self.slot(node)]
        if (dotted or name) in SAME_FUNCTIONS:
            return [slot for argument in node.args for slot in self.of(argument)]
        if isinstance(node.func, ast.Attribute):
            if name in SAME_METHODS or name in SAME_OBJECT_METHODS:
                return self.of(node.func.value)
            if name == "format":
                return self._formatted(node, node.func.value)
        if name in RECORD_MAKERS or name in FIELD_MAKERS:
            return [*self._given(node), self.slot(node)]
        if name == "super" and (around := self._class_around(node)) is not None:
            return [f"#super {around}"]
        return [TORCH] if dotted.startswith("torch.") else [self.slot(node)]

    def _given(self, node: ast.Call) -> list[str]:
        kept = [
            k.value
            for k in node.keywords
            if plain_name(node.func) in RECORD_MAKERS or (k.arg or "").startswith("default")
        ]
        return [slot for value in (*node.args, *kept) for slot in self.of(value)]

    def _fetched(self, node: ast.Call) -> list[str]:
        """`d.get(key, default)` and `getattr(o, name, default)`: the field of that name, or the default."""
        at = 1 if plain_name(node.func) == "getattr" else 0
        key = node.args[at] if len(node.args) > at else None
        default = [*node.args[at + 1 :], *(k.value for k in node.keywords if k.arg == "default")]
        named = [f".{key.value}"] if isinstance(key, ast.Constant) and isinstance(key.value, str) else []
        if plain_name(node.func) == "next":
            default = list(node.args)
        return named + [slot for value in default for slot in self.of(value)]

    def _formatted(self, node: ast.Call, text: ast.AST) -> list[str]:
        starts = isinstance(text, ast.Constant) and str(text.value).startswith(("{}", "{0}"))
        return self.of(text) + (self.of(node.args[0]) if starts and node.args else [])

    def inside(self, node: ast.AST) -> list[str]:
        """Slots whose value is a part of the text that the expression makes, anywhere but at its beginning."""
        if isinstance(node, ast.JoinedStr):
            pieces = [v.value for v in node.values if isinstance(v, ast.FormattedValue)]
        elif isinstance(node, ast.BinOp):
            pieces = [node.right] if isinstance(node.op, ast.Add) else [node.left, node.right]
        elif isinstance(node, ast.Call) and plain_name(node.func) == "format":
            pieces = [*node.args, *(k.value for k in node.keywords)]
        else:
            return []
        return [slot for piece in pieces for slot in self.of(piece)]

    def callee(self, function: ast.AST) -> str:
        """Which functions of the project a call may mean, to be looked up once all files are known."""
        if isinstance(function, ast.Name):
            return next(iter(self._name(function)), "")
        if not isinstance(function, ast.Attribute):
            return ""
        if dotted := self.source.scopes.resolve(function):
            return f"@{dotted}"
        is_self = isinstance(function.value, ast.Name) and function.value.id in ("self", "cls")
        is_super = isinstance(function.value, ast.Call) and plain_name(function.value.func) == "super"
        here = self._class_around(function) if is_self or is_super else None
        if here is None:
            return f"?{function.attr}"
        return f"{'self' if is_self else 'super'} {here} {function.attr}"

    def _class_around(self, node: ast.AST) -> str | None:
        scopes, here = self.source.scopes, node
        while not isinstance(here, ast.ClassDef):
            outer = scopes.scope(here)
            if isinstance(outer, ast.Module) or outer is here:
                return None
            here = outer
        return self.class_slot(here)

    def class_slot(self, node: ast.ClassDef) -> str:
        return f"{self.source.path}:{node.lineno}:{node.name}"


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """The expressions of which one, or all together, are the value."""
    if isinstance(node, ast.IfExp):
        yield from (node.body, node.orelse)
    elif isinstance(node, ast.BoolOp):
        yield from node.values
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        yield from node.elts
    elif isinstance(node, ast.Dict):
        yield from (v for v in node.values if v is not None)
    elif isinstance(node, ast.NamedExpr | ast.Starred | ast.Await | ast.DictComp | ast.YieldFrom):
        yield node.value
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        yield node.elt
    elif isinstance(node, ast.Lambda):
        yield node.body
    elif isinstance(node, ast.Subscript) and not (
        isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
    ):
        yield node.value
