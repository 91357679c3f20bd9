"""What a call takes and gives, by the name of what is called."""

import ast
from collections.abc import Callable

from xinqiao.port import sinks
from xinqiao.port.collector import Collector
from xinqiao.port.facts import Call
from xinqiao.port.values import DEVICE, NONE, plain_name


def call(here: Collector, node: ast.Call) -> None:
    name = plain_name(node.func)
    dotted = here.source.resolve(node.func) or ""
    if isinstance(node.func, ast.Attribute):
        _method(here, node, node.func)
    if name == "cuda" and isinstance(node.func, ast.Attribute):
        for asked in (node.func.value, *node.args[:1], *(k.value for k in node.keywords if k.arg == "device")):
            here.flow(asked, [here.values.asked(asked)])
    if name in _TAKERS:
        _TAKERS[name](here, node)
    elif name in sinks.READERS or isinstance(here.source.parent(node), ast.Raise):
        _all_arguments(here, node, "message")
    elif (dotted or name) in sinks.FILE_FUNCTIONS:
        for argument in node.args:
            here.use(argument, "file")
    elif (dotted or name) not in sinks.SAME_FUNCTIONS and name not in sinks.SAME_METHODS:
        _unresolved(here, node)


def _all_arguments(here: Collector, node: ast.Call, use: str) -> None:
    for argument in (*node.args, *(k.value for k in node.keywords)):
        here.use(argument, use)


def _method(here: Collector, node: ast.Call, function: ast.Attribute) -> None:
    receiver = function.value
    here.facts.derived += [(slot, here.values.slot(node)) for slot in here.values.of(receiver)]
    if function.attr in sinks.TEXT_METHODS:
        for argument in node.args:
            here.compare(argument, receiver)
    if function.attr in sinks.DEVICE_METHODS:
        for argument in node.args[:1]:
            here.use(argument, "device", inside=False)
    if function.attr in ("append", "add", "extend", "insert", "appendleft"):
        for argument in node.args:
            here.flow(argument, here.values.of(receiver))


def _unresolved(here: Collector, node: ast.Call) -> None:
    callee, given = here.values.callee(node.func), list(node.args)
    if plain_name(node.func) == "partial" and given:
        callee = here.values.callee(given.pop(0))
    arguments: list[tuple[int | str, tuple[str, ...]]] = []
    for position, argument in enumerate(given):
        if slots := here.values.of(argument):
            arguments.append((position, tuple(slots)))
    for keyword in node.keywords:
        if slots := here.values.of(keyword.value):
            arguments.append((keyword.arg or "**", tuple(slots)))
    for argument in (*given, *(k.value for k in node.keywords)):
        here.facts.uses += [(slot, "text") for slot in here.values.inside(argument)]
    here.facts.calls.append(Call(callee, tuple(arguments), here.values.slot(node)))


def _argparse(here: Collector, node: ast.Call) -> None:
    for argument in node.args:
        here.use(argument, "flag")
    name = destination(node)
    if name and not {k.arg for k in node.keywords} & {"default", "required", "action"}:
        here.facts.edges.append((NONE, f".{name}"))
    for keyword in node.keywords:
        if keyword.arg in sinks.TEXT_KEYWORDS:
            here.use(keyword.value, "message")
        elif keyword.arg in ("default", "choices", "const", "type"):
            here.flow(keyword.value, [f".{name}"])
            if keyword.arg == "type" and here.source.resolve(keyword.value) == "torch.device":
                here.facts.edges.append((DEVICE, f".{name}"))


def destination(node: ast.Call) -> str:
    """The attribute that a command-line option is read from."""
    for keyword in node.keywords:
        if keyword.arg == "dest" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    words = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    plain = [w for w in words if not w.startswith("-")]
    long = [w for w in words if w.startswith("--")]
    return (plain or long or words or [""])[0].lstrip("-").split("/")[0].replace("-", "_")


def _named(here: Collector, node: ast.Call) -> None:
    """hasattr, getattr, setattr: the second argument is a name."""
    for argument in node.args[1:2]:
        here.use(argument, "key")
    if plain_name(node.func) == "setattr" and len(node.args) == 3 and isinstance(node.args[1], ast.Constant):
        here.flow(node.args[2], [f".{node.args[1].value!s}"])


def _fetch(here: Collector, node: ast.Call) -> None:
    """`d.get(key, default)`, `d.pop`, `d.setdefault`, `os.getenv`."""
    for argument in node.args[:1]:
        here.use(argument, "key")
        if isinstance(node.func, ast.Attribute):
            here.look_up(node.func.value, argument)
    if node.args[1:] and plain_name(node.func) == "setdefault" and isinstance(node.args[0], ast.Constant):
        here.flow(node.args[1], [f".{node.args[0].value!s}"])
    _unresolved(here, ast.copy_location(ast.Call(node.func, [], []), node))


def _record(here: Collector, node: ast.Call) -> None:
    """`dict(device=...)`, `parser.set_defaults(device=...)`."""
    for keyword in node.keywords:
        if keyword.arg:
            here.flow(keyword.value, [f".{keyword.arg}"])
    if isinstance(node.func, ast.Attribute):
        for argument in node.args:
            here.flow(argument, here.values.of(node.func.value))


_TAKERS: dict[str, Callable[[Collector, ast.Call], None]] = {
    "add_argument": _argparse,
    "add_option": _argparse,
    "option": _argparse,
    "get": _fetch,
    "pop": _fetch,
    "setdefault": _fetch,
    "getenv": _fetch,
    **dict.fromkeys(sinks.NAMERS, _named),
    **dict.fromkeys(sinks.RECORD_MAKERS, _record),
}
_TAKERS["replace"] = _record  # of dataclasses; that of text has no keywords
