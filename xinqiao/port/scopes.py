"""What a name refers to: an import, an alias of one, or something of the user's own that hides it."""

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = frozenset((*_FUNCTIONS, ast.ClassDef))
_OPENING = frozenset((*_DEFINITIONS, ast.Module, ast.Lambda, *_COMPREHENSIONS))
Kinds = dict[type[ast.AST], list[ast.AST]]


def module_name(path: str) -> str:
    """'package.module' of 'package/module.py'; 'package' of its __init__.py."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts and parts[-1] == "__init__" else parts)


class Scopes:
    """Bindings of every scope: name → dotted name of what was imported, or None for the user's own.

    stars   modules of which all names are imported
    """

    def __init__(self, path: str, tree: ast.Module, parents: dict[ast.AST, ast.AST], kinds: Kinds) -> None:
        self._parents = parents
        self._tree = tree
        self._package = module_name(path) if path.endswith("__init__.py") else module_name(path).rpartition(".")[0]
        self._bindings: dict[ast.AST, dict[str, str | None]] = {tree: {}}
        self._declared: dict[tuple[ast.AST, str], bool] = {}  # (scope, name) → whether global rather than nonlocal
        self._scope_of: dict[ast.AST, ast.AST] = {}
        self._owners: dict[ast.Name, ast.AST | None] = {}  # many rules ask for the same name
        self._names: set[str] = set()  # bound anywhere
        self.stars: list[str] = []
        for node in (*kinds.get(ast.Global, ()), *kinds.get(ast.Nonlocal, ())):
            for name in getattr(node, "names", ()):
                self._declared[self.scope(node), name] = isinstance(node, ast.Global)
        aliases: list[tuple[ast.AST, ast.Assign]] = []
        for kind in (ast.Import, ast.ImportFrom, ast.Assign, ast.arg, ast.Name, *_FUNCTIONS, ast.ClassDef,
                     ast.ExceptHandler, ast.MatchAs, ast.MatchStar):  # fmt: skip
            for node in kinds.get(kind, ()):
                self._bind(node, aliases)
        for scope, assign in aliases:  # `cuda = torch.cuda`, once everything imported is known
            target = assign.targets[0]
            assert isinstance(target, ast.Name)
            found = self.resolve(assign.value)
            table = self._bindings.setdefault(scope, {})
            table[target.id] = found if table.get(target.id, "") in ("", found) else table[target.id]
            self._names.add(target.id)
        self._owners.clear()  # what was asked above did not know all aliases yet

    def _bind(self, node: ast.AST, aliases: list[tuple[ast.AST, ast.Assign]]) -> None:
        if isinstance(node, ast.Import):
            for a in node.names:
                self._set(node, a.asname or a.name.split(".")[0], a.name if a.asname else a.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            self._bind_from(node)
        elif isinstance(node, ast.Assign):
            if _is_alias(node):
                aliases.append((self._holder(node, getattr(node.targets[0], "id", "")), node))
        elif isinstance(node, ast.Name):
            parent = self._parents.get(node)
            if isinstance(node.ctx, ast.Store) and not (isinstance(parent, ast.Assign) and _is_alias(parent)):
                self._set(node, node.id, None)
        elif isinstance(node, ast.arg):
            self._set(node, node.arg, None)
        elif name := getattr(node, "name", None):
            self._set(node, name, None)

    def _bind_from(self, node: ast.ImportFrom) -> None:
        module = self.module_of(node)
        for a in node.names:
            if a.name == "*":
                self.stars.append(module)
            else:
                self._set(node, a.asname or a.name, f"{module}.{a.name}" if module else a.name)

    def module_of(self, node: ast.ImportFrom) -> str:
        """The name, from the project's root on, of the module that names are imported from."""
        if not node.level:
            return node.module or ""
        package = self._package.split(".") if self._package else []
        above = package[: len(package) - node.level + 1]
        return ".".join([*above, *([node.module] if node.module else [])])

    def _set(self, node: ast.AST, name: str, value: str | None) -> None:
        table = self._bindings.setdefault(self._holder(node, name), {})
        # An import keeps its meaning beside a `= None` in the branch where it failed.
        table[name] = value or table.get(name)
        self._names.add(name)

    def _holder(self, node: ast.AST, name: str) -> ast.AST:
        """The scope that an assignment to `name` at `node` binds it in."""
        scope = self.scope(node)
        is_global = self._declared.get((scope, name))
        if is_global is None:
            return scope
        return self._tree if is_global else self._outer(scope)

    def scope(self, node: ast.AST) -> ast.AST:
        """The function, class or module that a node belongs to; an argument belongs to its function."""
        statements: list[ast.AST] = []
        child, here = node, self._parents.get(node)
        while here is not None and not _opens(here, child, node):
            if isinstance(child, ast.stmt):
                statements.append(child)
                if (known := self._scope_of.get(child)) is not None:
                    here = known
                    break
            child, here = here, self._parents.get(here)
        found = here if here is not None else child
        self._scope_of.update(dict.fromkeys(statements, found))
        return found

    def _outer(self, scope: ast.AST) -> ast.AST:
        """The next scope around it that functions inside can see: no class."""
        here = self.scope(scope)
        while isinstance(here, ast.ClassDef):
            here = self.scope(here)
        return here

    def owner(self, node: ast.Name) -> ast.AST | None:
        """The scope that binds a name; None where the file does not bind it."""
        if node not in self._owners:
            self._owners[node] = self._owner(node) if node.id in self._names else None
        return self._owners[node]

    def _owner(self, node: ast.Name) -> ast.AST | None:
        here = self.scope(node)
        if (is_global := self._declared.get((here, node.id))) is not None:
            return self._tree if is_global else self._bound(node.id, self._outer(here))
        return self._bound(node.id, here)

    def _bound(self, name: str, here: ast.AST) -> ast.AST | None:
        while name not in self._bindings.get(here, ()):
            if here is self._tree:
                return None
            here = self._outer(here)
        return here

    def resolve(self, node: ast.AST) -> str | None:
        """Dotted name of an expression, or None where the user's own code decides what it is."""
        rest = ""
        while not isinstance(node, ast.Name):
            if isinstance(node, ast.Attribute):
                rest, node = f".{node.attr}{rest}", node.value
            elif (name := _got(node)) is not None:
                assert isinstance(node, ast.Call)
                rest, node = f".{name}{rest}", node.args[0]
            else:
                return None
        owner = self.owner(node)
        if owner is None:  # `torch` that nobody binds is put there from outside, as in a notebook's cell
            return f"torch{rest}" if node.id == "torch" and "torch" not in self._names else None
        found = self._bindings[owner][node.id]
        return f"{found}{rest}" if found else None

    def imports(self) -> Iterator[tuple[ast.AST, str, str]]:
        """(scope, name, dotted name) of everything imported, and of its aliases."""
        for scope, table in self._bindings.items():
            yield from ((scope, name, dotted) for name, dotted in table.items() if dotted)

    def names_at_top(self) -> dict[str, str | None]:
        """Bindings of the module itself."""
        return self._bindings[self._tree]


def _opens(here: ast.AST, child: ast.AST, node: ast.AST) -> bool:
    """Whether `child`, a direct part of `here`, lies in a scope that `here` opens."""
    kind = type(here)
    if kind not in _OPENING:
        return False
    if kind in _DEFINITIONS:
        return isinstance(child, ast.stmt) or (isinstance(child, ast.arguments) and isinstance(node, ast.arg))
    return not isinstance(here, ast.Lambda) or child is here.body or isinstance(node, ast.arg)


def _is_alias(node: ast.Assign) -> bool:
    simple = len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    return simple and (isinstance(node.value, ast.Attribute | ast.Name) or _got(node.value) is not None)


def _got(node: ast.AST) -> str | None:
    """'cuda' of `getattr(torch, "cuda")`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"):
        return None
    name = node.args[1] if len(node.args) >= 2 else None
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None
