"""Environment variables of CUDA and NCCL get the vendor's beside them.

What it does: where a variable is set, the vendor's is set to the same value; where it is read, the vendor's is read if
it is there; where it is removed, both are. This holds for `os.environ`, copies of it, dictionaries for a child process
and keyword arguments of `dict` and `update`. The vendor style writes the vendor's variable alone. A variable that only
tunes or debugs CUDA is left; one whose counterpart is not known needs you.
Why: CUDA_VISIBLE_DEVICES and its kin are read by CUDA alone, so that a program picks the wrong device, silently.
Unsafe when: the vendor's variable has another syntax; some need device numbers in ascending order.
Source: the vendors' documentation and sources, named in chips/platforms.

    os.environ["CUDA_VISIBLE_DEVICES"] = "0"
    →  os.environ["ASCEND_RT_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"] = "0"
"""

import ast
from collections.abc import Iterator

from xinqiao.port.places import place_of
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Edit, Source
from xinqiao.port.variables import VARIABLE, Counterpart, counterpart

_PLAIN = ast.Constant | ast.Name | ast.Attribute
_PURE = {"str", "join", "map", "format", "int", "list", "range", "sorted", "len"}


@rule(ast.Constant)
def constant(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Constant)
    if not isinstance(node.value, str) or VARIABLE.search(node.value) is None:
        return
    if isinstance(source.parent(node), ast.JoinedStr):
        return
    if not VARIABLE.fullmatch(node.value):
        yield from _mentions(node, source)
        return
    found = counterpart(node.value, source.target.chip)
    if found.verdict != "rewritten":
        yield Finding(node, found.verdict, found.reason)
        return
    if _is_beside(node, found.name, source):
        yield Finding(node, "safe", f"{found.reason}, which is here too")
        return
    place, edits = _edits(node, found.name, source)
    if edits and source.target.style == "vendor":
        edits = (replace(source, node, _quoted(found.name, node, source)),)
    yield _finding(place, found, edits, source)


@rule(ast.keyword)
def keyword(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`dict(os.environ, CUDA_VISIBLE_DEVICES="0")`"""
    assert isinstance(node, ast.keyword)
    if node.arg is None or not VARIABLE.fullmatch(node.arg):
        return
    found = counterpart(node.arg, source.target.chip)
    if found.verdict != "rewritten":
        yield Finding(node, found.verdict, found.reason)
        return
    if _is_beside(node, found.name, source):
        yield Finding(node, "safe", f"{found.reason}, which is here too")
        return
    edits: tuple[Edit, ...] = ()
    if source.target.style == "vendor":
        edits = (Edit(source.start(node), source.start(node) + len(node.arg.encode()), found.name),)
    elif _is_repeatable(node.value):
        edits = (_after(node, f", {found.name}={source.text(node.value)}", source),)
    yield _finding(node, found, edits, source)


def _mentions(node: ast.Constant, source: Source) -> Iterator[Finding]:
    """A command line for a shell: 'CUDA_VISIBLE_DEVICES=0 python train.py'."""
    for match in VARIABLE.finditer(str(node.value)):
        if str(node.value)[match.end() : match.end() + 1] != "=" or place_of(node, source) == "documentation":
            continue
        found = counterpart(match[0], source.target.chip)
        if found.verdict == "rewritten":
            yield Finding(node, "needs-you", f"{found.reason}: set it in this text, too")
        else:
            yield Finding(node, found.verdict, found.reason)
        return


def _finding(node: ast.AST, found: Counterpart, edits: tuple[Edit, ...], source: Source) -> Finding:
    if edits and not source.target.audit:
        return Finding(node, "rewritten", found.reason, edits)
    return Finding(node, "needs-you", f"{found.reason}: do with it what is done with CUDA's variable here")


def _is_beside(node: ast.AST, name: str, source: Source) -> bool:
    """Whether the lines of this expression hold the vendor's variable already."""
    top, parent = node, source.parent(node)
    while parent is not None and not isinstance(parent, ast.stmt):
        top, parent = parent, source.parent(parent)
    if isinstance(parent, ast.Assign | ast.Delete | ast.Expr):
        top = parent
    begin = source.data.rfind(b"\n", 0, source.start(top)) + 1
    return name.encode() in source.data[begin : source.end(top)]


def _quoted(name: str, like: ast.AST, source: Source) -> str:
    quote = "'" if source.text(like).endswith("'") else '"'
    return f"{quote}{name}{quote}"


def _after(node: ast.AST, text: str, source: Source) -> Edit:
    return Edit(source.end(node), source.end(node), text)


def _edits(node: ast.Constant, name: str, source: Source) -> tuple[ast.AST, tuple[Edit, ...]]:
    """(the place, what to write): none where it is not clear what is done with the variable."""
    parent = source.parent(node)
    if isinstance(parent, ast.Subscript) and parent.slice is node and isinstance(parent.value, _PLAIN):
        return _subscript(parent, node, name, source)
    if isinstance(parent, ast.Call) and parent.args[:1] == [node]:
        return _call(parent, node, name, source)
    if isinstance(parent, ast.Compare) and parent.left is node and isinstance(parent.comparators[0], _PLAIN):
        return _contains(parent, name, source)
    if isinstance(parent, ast.Dict) and node in parent.keys:
        value = parent.values[parent.keys.index(node)]
        text = f", {_quoted(name, node, source)}: {source.text(value)}"
        return node, (_after(value, text, source),) if _is_repeatable(value) else ()
    return node, ()


def _subscript(place: ast.Subscript, node: ast.Constant, name: str, source: Source) -> tuple[ast.AST, tuple[Edit, ...]]:
    base, parent = source.text(place.value), source.parent(place)
    start = source.start(place)
    if isinstance(place.ctx, ast.Load):
        return place, (_key(node, base, name, source),)
    if isinstance(place.ctx, ast.Del) and isinstance(parent, ast.Delete):
        text = f"{base}.pop({_quoted(name, node, source)}, None); "
        return place, (Edit(source.start(parent), source.start(parent), text),)
    if isinstance(parent, ast.Assign) and parent.targets[0] is place:
        return place, (Edit(start, start, f"{base}[{_quoted(name, node, source)}] = "),)
    return place, ()


def _key(node: ast.Constant, base: str, name: str, source: Source) -> Edit:
    """The vendor's variable where it is set, else CUDA's."""
    quoted = _quoted(name, node, source)
    return replace(source, node, f"{quoted} if {quoted} in {base} else {source.text(node)}")


def _call(call: ast.Call, node: ast.Constant, name: str, source: Source) -> tuple[ast.AST, tuple[Edit, ...]]:
    function = call.func
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, _PLAIN):
        return node, ()
    base, quoted = source.text(function.value), _quoted(name, node, source)
    if source.resolve(function) == "os.getenv":
        return call, (_key(node, f"{base}.environ", name, source),)
    if function.attr == "setdefault" and len(call.args) > 1:
        opening = Edit(source.start(call), source.start(call), f"{base}.setdefault({quoted}, ")
        return call, (opening, _after(call, ")", source))
    if function.attr == "pop" and isinstance(source.parent(call), ast.Expr):
        return call, (Edit(source.start(call), source.start(call), f"{base}.pop({quoted}, None); "),)
    return call, (_key(node, base, name, source),) if function.attr in ("get", "pop") else ()


def _contains(place: ast.Compare, name: str, source: Source) -> tuple[ast.AST, tuple[Edit, ...]]:
    if len(place.ops) != 1 or not isinstance(place.ops[0], ast.In | ast.NotIn):
        return place, ()
    quoted, base = _quoted(name, place.left, source), source.text(place.comparators[0])
    word, joint = ("in", "or") if isinstance(place.ops[0], ast.In) else ("not in", "and")
    start = source.start(place)
    return place, (Edit(start, start, "("), _after(place, f" {joint} {quoted} {word} {base})", source))


def _is_repeatable(value: ast.AST) -> bool:
    """Whether an expression may be written twice: it calls nothing but simple conversions."""
    calls = [n.func for n in ast.walk(value) if isinstance(n, ast.Call)]
    names = [f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "") for f in calls]
    return set(names) <= _PURE and not any(
        isinstance(n, ast.NamedExpr | ast.Await | ast.Yield) for n in ast.walk(value)
    )
