"""Device strings become the accelerator's name.

What it does: `"cuda"`, `"cuda:0"`, `f"cuda:{rank}"`, `"cuda:%d" % i` and `"cuda:{}".format(i)` take the device's name
from PyTorch where they reach a device: through variables, parameters and their defaults, attributes, results,
dictionary values, command-line defaults and other modules of the project. Keys, flags, messages and the user's own
names stay.
Why: the string names one vendor.
Unsafe when: a string reaches a device only inside a package outside the project, under a name that says nothing; such a
string is left and needs you.
Source: PyTorch 2.13, torch.accelerator.current_accelerator; what takes a device is listed in `xinqiao/port/sinks.py`.

    device = torch.device("cuda:0")        →    device = torch.device(f"{ACCELERATOR}:0")
"""

import ast
from collections.abc import Iterator

from xinqiao.port.cuda_branches import for_cuda_alone
from xinqiao.port.cuda_uses import asks_for_cuda
from xinqiao.port.dialect import ACCELERATOR, device_inside_text, device_string
from xinqiao.port.places import Place, is_map_location, place_of
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.scripted import device_for
from xinqiao.port.source import Edit, Source
from xinqiao.port.words import DEVICE_STRING

_LEFT: dict[Place, str] = {
    "key": "a key of your own",
    "flag": "a command-line flag of your own: scripts that start this program use it",
    "documentation": "documentation",
    "message": "a message for people",
}
_ASK: dict[Place, str] = {
    "several": "it names a device, and is also a key, a file name or a pattern: decide what each of them should be",
    "table": "a key that is looked up by a device's name: add an entry for the other device",
    "type": "a type that allows this device only: widen it to str where it is checked when the program runs",
}
_MAY_BE = "this string may name a device; if it does, write ACCELERATOR instead (see the top of a rewritten file)"
_REASON = "the device's name comes from PyTorch"
_LISTED = (
    "a list of devices that names CUDA now names the accelerator: see that the chip can do what CUDA is listed for"
)


@rule(ast.Constant)
def constant(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Constant)
    value, parent = node.value, source.parent(node)
    if not isinstance(value, str) or not DEVICE_STRING.match(value) or isinstance(parent, ast.JoinedStr):
        return
    if is_map_location_key(node, source):
        return  # the rule map-location
    if _falls_back_to_cuda(node, source):
        yield Finding(node, "safe", "used only where there is no accelerator")
        return
    if _is_for_scripts(node, source):
        yield Finding(node, "safe", "what torch.jit.script compiles compares with 'cuda', as before the port")
        return
    if asks_for_cuda(parent, source):
        yield Finding(node, "safe", "it asks whether the accelerator is CUDA")
        return
    place, is_compared = place_of(node, source), isinstance(parent, ast.Compare)
    if place == "device" and is_compared and (alone := for_cuda_alone(node, source)) is not None:
        yield alone
    elif place == "device":
        listed = _is_listed(parent, source)
        compared = value == "cuda" and (listed or is_compared)
        text = device_for(node, source) if compared else device_string(value, source.text(node), source)
        edit = replace(source, node, text)
        yield Finding(node, "rewritten", _LISTED if listed else _REASON, (edit,), (ACCELERATOR,))
    elif place in _LEFT:
        yield Finding(node, "safe", _LEFT[place])
    else:
        yield Finding(node, "needs-you", _ASK.get(place, _MAY_BE))


@rule(ast.JoinedStr)
def joined(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.JoinedStr)
    first = node.values[0] if node.values else None
    if not isinstance(first, ast.Constant) or not DEVICE_STRING.match(str(first.value)):
        return
    if is_map_location_key(node, source):
        return
    text = source.text(node)
    begin = text.find("cuda")
    quote = text[:begin]
    place = place_of(node, source)
    if place == "device" and quote.strip("fFrR\"'") == "":
        start = source.start(node) + len(quote.encode())
        edit = Edit(start, start + len("cuda"), device_inside_text(source))
        yield Finding(node, "rewritten", _REASON, (edit,), (ACCELERATOR,))
    elif place in _LEFT:
        yield Finding(node, "safe", _LEFT[place])
    else:
        yield Finding(node, "needs-you", _ASK.get(place, _MAY_BE))


def is_map_location_key(node: ast.AST, source: Source) -> bool:
    """Whether a string is a key of a dictionary given as map_location."""
    parent = source.parent(node)
    return isinstance(parent, ast.Dict) and node in source.keys and is_map_location(parent, source)


def _is_listed(holder: ast.AST | None, source: Source) -> bool:
    """Whether what a string is written in is a tuple, list or set that something is compared with."""
    return isinstance(holder, ast.Tuple | ast.List | ast.Set) and isinstance(source.parent(holder), ast.Compare)


def _is_for_scripts(node: ast.AST, source: Source) -> bool:
    """`"cuda" if torch.jit.is_scripting() else ...`, which a port writes."""
    either = source.parent(node)
    test = either.test if isinstance(either, ast.IfExp) and node is either.body else None
    return isinstance(test, ast.Call) and source.resolve(test.func) == "torch.jit.is_scripting"


def _falls_back_to_cuda(node: ast.AST, source: Source) -> bool:
    """The lines that a port itself writes: PyTorch's accelerator, else 'cuda', which it is too without PyTorch."""
    call = source.parent(node)
    if isinstance(call, ast.Assign):
        return isinstance(call.targets[0], ast.Name) and call.targets[0].id == ACCELERATOR
    if not (isinstance(call, ast.Call) and source.resolve(call.func) == "torch.device"):
        return False
    either = source.parent(call)
    first = either.values[0] if isinstance(either, ast.BoolOp) and isinstance(either.op, ast.Or) else None
    return isinstance(first, ast.Call) and source.resolve(first.func) == "torch.accelerator.current_accelerator"
