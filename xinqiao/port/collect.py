"""One file's facts: every assignment, call, comparison and definition as slots and what flows between them."""

import ast
from collections.abc import Callable
from itertools import pairwise

from xinqiao.port.calls import call, destination
from xinqiao.port.collector import Collector
from xinqiao.port.facts import Call, Class, Facts, Function
from xinqiao.port.source import Node, Source
from xinqiao.port.values import plain_name


def facts_of(source: Source) -> Facts:
    """What one file tells the others, and itself."""
    here = Collector(source)
    _each(here, _assignment, ast.Assign)
    _each(here, _attribute, ast.Attribute)
    _each(here, _single, ast.AnnAssign)
    _each(here, _single, ast.NamedExpr)
    _each(here, _single, ast.AugAssign)
    _each(here, _loop, ast.For)
    _each(here, _loop, ast.AsyncFor)
    _each(here, _loop, ast.comprehension)
    _each(here, _dictionary, ast.Dict)
    _each(here, _subscript, ast.Subscript)
    _each(here, _comparison, ast.Compare)
    _each(here, _pattern, ast.MatchValue)
    _each(here, _returned, ast.Return)
    _each(here, _returned, ast.Yield)
    _each(here, _function, ast.FunctionDef)
    _each(here, _function, ast.AsyncFunctionDef)
    _each(here, _lambda, ast.Lambda)
    _each(here, _class, ast.ClassDef)
    _each(here, _raised, ast.Raise)
    _each(here, _raised, ast.Assert)
    _each(here, call, ast.Call)
    for scope, name, dotted in source.scopes.imports():
        here.facts.edges.append((f"@{dotted}", here.values.variable(scope, name)))
        if isinstance(scope, ast.Module):
            here.facts.imported[name] = dotted
    here.facts.stars = tuple(source.scopes.stars)
    here.facts.scripts = b"jit" in source.data and any(
        source.scopes.resolve(n) in ("torch.jit.script", "torch.jit.export", "torch.jit.is_scripting")
        for n in source.nodes(ast.Attribute, ast.Name)
    )
    return here.facts


def _each(here: Collector, function: Callable[[Collector, Node], None], kind: type[Node]) -> None:
    for node in here.source.nodes(kind):
        function(here, node)


def _assignment(here: Collector, node: ast.Assign) -> None:
    for target in node.targets:
        here.assign(target, node.value)


def _attribute(here: Collector, node: ast.Attribute) -> None:
    if node.attr == "is_cuda":
        here.flow(node.value, [here.values.asked(node.value)])


def _single(here: Collector, node: ast.AnnAssign | ast.NamedExpr | ast.AugAssign) -> None:
    here.assign(node.target, node.value)
    if isinstance(node, ast.AnnAssign):
        _annotated(here, node.annotation, here.targets(node.target))


def _annotated(here: Collector, annotation: ast.AST | None, targets: list[str]) -> None:
    """A name annotated with a class may hold it."""
    if isinstance(annotation, ast.Name | ast.Attribute):
        callee = here.values.callee(annotation)
        for target in targets:
            here.facts.calls.append(Call(callee, (), target))


def _loop(here: Collector, node: ast.For | ast.AsyncFor | ast.comprehension) -> None:
    here.flow(node.iter, here.targets(node.target))


def _dictionary(here: Collector, node: ast.Dict) -> None:
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            continue
        here.use(key, "key")
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            here.flow(value, [f".{key.value}"])


def _subscript(here: Collector, node: ast.Subscript) -> None:
    base = here.source.scopes.resolve(node.value) or plain_name(node.value)
    here.use(node.slice, "type" if base.rpartition(".")[2] == "Literal" else "key")
    here.look_up(node.value, node.slice)


def _comparison(here: Collector, node: ast.Compare) -> None:
    sides = [node.left, *node.comparators]
    for (left, right), op in zip(pairwise(sides), node.ops, strict=True):
        here.compare(left, right)
        here.compare(right, left)
        if isinstance(op, ast.In | ast.NotIn):
            here.use(left, "member", inside=False)


def _pattern(here: Collector, node: ast.MatchValue) -> None:
    here.use(node.value, "pattern")


def _returned(here: Collector, node: ast.Return | ast.Yield) -> None:
    function = here.source.scopes.scope(node)
    if node.value is None or not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    targets = [here.values.returned(function)]
    if any("property" in plain_name(d) for d in function.decorator_list):
        targets.append(f".{function.name}")
    here.flow(node.value, targets)


def _function(here: Collector, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    owner = here.source.scopes.scope(node)
    arguments, in_class = node.args, isinstance(owner, ast.ClassDef)
    static = any(plain_name(d) == "staticmethod" for d in node.decorator_list)
    positional = [*arguments.posonlyargs, *arguments.args]
    _defaults(here, arguments, node)
    of_class = here.values.class_slot(owner) if isinstance(owner, ast.ClassDef) else ""
    if in_class and not static and positional:
        me = positional.pop(0)
        here.facts.edges.append((f"#class {of_class}", here.values.variable(node, me.arg)))
    for argument in (*positional, *arguments.kwonlyargs):
        _annotated(here, argument.annotation, [here.values.variable(node, argument.arg)])
    rest = arguments.kwarg or arguments.vararg
    function = Function(
        node.name,
        tuple(here.values.variable(node, a.arg) for a in (*positional, *arguments.kwonlyargs)),
        len(arguments.kwonlyargs),
        here.values.variable(node, rest.arg) if rest else "",
        here.values.returned(node),
        of_class,
    )
    here.facts.functions.append((here.values.variable(owner, node.name), function))
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            _option(here, decorator, node)
            _parameters(here, decorator, node)


def _lambda(here: Collector, node: ast.Lambda) -> None:
    _defaults(here, node.args, node)


def _defaults(here: Collector, arguments: ast.arguments, scope: ast.AST) -> None:
    positional = [*arguments.posonlyargs, *arguments.args]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    pairs = [
        *zip(with_default, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    for argument, default in pairs:
        here.flow(default, [here.values.variable(scope, argument.arg)])


def _class(here: Collector, node: ast.ClassDef) -> None:
    fields = [s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
    methods = [s.name for s in node.body if isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = Class(
        here.values.class_slot(node),
        tuple(b for base in node.bases if (b := here.values.callee(base))),
        (*methods, *_own_answers(node, here.source)),
        tuple(fields),
    )
    owner = here.source.scopes.scope(node)
    here.facts.classes.append((here.values.variable(owner, node.name), found))


def _own_answers(node: ast.ClassDef, source: Source) -> list[str]:
    """['is_cuda'] where the class keeps an answer of its own under that name."""
    if b"is_cuda" not in source.data:
        return []
    kept = (n for n in ast.walk(node) if isinstance(n, ast.Attribute | ast.Name) and isinstance(n.ctx, ast.Store))
    own = any(plain_name(n) == "is_cuda" and (isinstance(n, ast.Attribute) or n in _fields(node)) for n in kept)
    return ["is_cuda"] if own else []


def _fields(node: ast.ClassDef) -> list[ast.expr]:
    return [t for s in node.body for t in getattr(s, "targets", [getattr(s, "target", None)]) if t is not None]


def _raised(here: Collector, node: ast.Raise | ast.Assert) -> None:
    value = node.exc if isinstance(node, ast.Raise) else node.msg
    if value is not None:
        here.use(value, "message")


def _parameters(here: Collector, decorator: ast.Call, function: ast.AST) -> None:
    """`@pytest.mark.parametrize("device", [...])` and `@pytest.fixture(params=[...])`."""
    name = plain_name(decorator.func)
    if name == "parametrize" and len(decorator.args) == 2 and isinstance(decorator.args[0], ast.Constant):
        names = [n.strip() for n in str(decorator.args[0].value).split(",")]
        here.flow(decorator.args[1], [here.values.variable(function, n) for n in names])
    for keyword in decorator.keywords:
        if name == "fixture" and keyword.arg == "params":
            here.flow(keyword.value, [".param"])


def _option(here: Collector, decorator: ast.Call, function: ast.AST) -> None:
    """`@click.option("--device", default="cuda")`: the function's parameter of that name."""
    if name := destination(decorator):
        for keyword in decorator.keywords:
            if keyword.arg in ("default", "type"):
                here.flow(keyword.value, [here.values.variable(function, name)])
