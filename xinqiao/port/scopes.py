"""What a name refers to: an import, an alias of one, or something of the user's own that hides it."""

import ast

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef | ast.GeneratorExp
_SCOPES = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.GeneratorExp)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Scopes:
    """Bindings of every scope: name → dotted name of what was imported, or None for the user's own."""

    def __init__(self, tree: ast.Module, parents: dict[ast.AST, ast.AST]) -> None:
        self._parents = parents
        self._bindings: dict[ast.AST, dict[str, str | None]] = {tree: {}}
        aliases: list[tuple[ast.AST, ast.Assign]] = []
        for node in ast.walk(tree):
            self._bind(node, aliases)
        for scope, assign in aliases:  # `cuda = torch.cuda`, once everything imported is known
            target = assign.targets[0]
            assert isinstance(target, ast.Name)
            found = self.resolve(assign.value)
            table = self._bindings.setdefault(scope, {})
            if table.get(target.id, "") in ("", found):
                table[target.id] = found

    def _bind(self, node: ast.AST, aliases: list[tuple[ast.AST, ast.Assign]]) -> None:
        if isinstance(node, ast.Import):
            for a in node.names:
                self._set(node, a.asname or a.name.split(".")[0], a.name if a.asname else a.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            for a in node.names:
                self._set(node, a.asname or a.name, f"{node.module}.{a.name}" if not node.level else None)
        elif isinstance(node, ast.Assign) and _is_alias(node):
            aliases.append((self.scope(node), node))
        elif isinstance(node, ast.arg):
            self._set(node, node.arg, None)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            parent = self._parents.get(node)
            if not (isinstance(parent, ast.Assign) and _is_alias(parent)):
                self._set(node, node.id, None)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._bindings.setdefault(self._outer(node), {})[node.name] = None

    def _set(self, node: ast.AST, name: str, value: str | None) -> None:
        table = self._bindings.setdefault(self.scope(node), {})
        # An import keeps its meaning beside a `= None` in the branch where it failed.
        table[name] = value or table.get(name)

    def scope(self, node: ast.AST) -> ast.AST:
        """The function, class or module that a node belongs to; an argument belongs to its function."""
        here: ast.AST | None = self._parents.get(node)
        while here is not None and not isinstance(here, (*_SCOPES, *_COMPREHENSIONS)):
            here = self._parents.get(here)
        return here if here is not None else node

    def _outer(self, node: ast.AST) -> ast.AST:
        return self.scope(node)

    def resolve(self, node: ast.AST) -> str | None:
        """Dotted name of an expression, or None where the user's own code decides what it is."""
        if isinstance(node, ast.Attribute):
            base = self.resolve(node.value)
            return f"{base}.{node.attr}" if base else None
        if isinstance(node, ast.Call) and _is_getattr(node):
            base, name = self.resolve(node.args[0]), node.args[1]
            return f"{base}.{name.value!s}" if base and isinstance(name, ast.Constant) else None
        return self._lookup(node) if isinstance(node, ast.Name) else None

    def _lookup(self, node: ast.Name) -> str | None:
        here: ast.AST | None = self.scope(node)
        first = True
        while here is not None:
            table = self._bindings.get(here, {})
            if node.id in table and (first or not isinstance(here, ast.ClassDef)):
                return table[node.id]
            first = False
            here = self._parents.get(here)
            while here is not None and here not in self._bindings:
                here = self._parents.get(here)
        return None

    def names_at_top(self) -> dict[str, str | None]:
        """Bindings of the module itself."""
        return next(table for scope, table in self._bindings.items() if isinstance(scope, ast.Module))


def _is_alias(node: ast.Assign) -> bool:
    simple = len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    return simple and (isinstance(node.value, ast.Attribute | ast.Name) or _is_getattr(node.value))


def _is_getattr(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and len(node.args) >= 2
        and isinstance(node.args[1], ast.Constant)
        and isinstance(node.args[1].value, str)
    )
