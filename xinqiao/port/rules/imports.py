"""Imports of packages that are made for CUDA.

What it does: a module of flash_attn, xformers or apex is imported from a module that the port adds: on CUDA it hands
out the package itself, elsewhere plain PyTorch with the same meaning. Where that lacks a name, and for every other
package, the import needs you, with what to use instead. `torch.cuda` may be imported anywhere and stays;
`from torch.cuda.amp import autocast` becomes an import from `torch.amp`.
Why: the package is missing on another device, or stops at import.
Unsafe when: the program takes a fourth or fifth result of flash_attn's `unpad_input` through a variable: five are
returned, as from version 2.7 on. Random numbers of dropout are another device's.
Source: xinqiao/port/packages.toml has one for each package; the substitutes name theirs.

    from flash_attn import flash_attn_func
    →  from xinqiao_substitutes.flash_attn import flash_attn_func
    from torch.cuda.amp import autocast    →    from torch.amp import autocast
"""

import ast
from collections.abc import Iterator

from xinqiao.port.additions import FOLDER, home, substitute, wrapper_name
from xinqiao.port.amp_uses import has_values
from xinqiao.port.guards import is_guarded
from xinqiao.port.packages import package_of, substitute_names, table
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Edit, Source

_AMP = ("torch.cuda.amp", "torch.cuda.amp.autocast_mode", "torch.cuda.amp.grad_scaler")
_ANYWHERE = "the module can be imported everywhere; its uses are looked at"
_EVERY_DEVICE = "torch.amp has it for every device"


@rule(ast.Import)
def plain(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Import)
    for alias in node.names:
        if alias.name.startswith("torch.cuda.amp") and alias.asname and not has_values(source):
            text = source.text(node).replace(alias.name, "torch.amp", 1)
            yield Finding(node, "rewritten", _EVERY_DEVICE, (replace(source, node, text),))
        elif alias.name.startswith(("torch.cuda", "torch.backends.cud")):
            yield Finding(alias, "safe", _ANYWHERE)
        elif package_of(alias.name):
            yield from _module(node, alias, source)
        elif _is_compiled(alias.name, source):
            yield _compiled(node if len(node.names) == 1 else alias, alias.name, source)


@rule(ast.ImportFrom)
def names(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.ImportFrom)
    module = node.module or ""
    if node.level:
        return
    if module in _AMP and has_values(source):
        yield Finding(node, "safe", "it can be imported everywhere; what uses the name as a value needs you")
    elif module in _AMP:
        start = source.data.index(module.encode(), source.start(node))
        yield Finding(node, "rewritten", _EVERY_DEVICE, (Edit(start, start + len(module), "torch.amp"),))
    elif module.startswith("torch.cuda") or (module == "torch" and any(a.name == "cuda" for a in node.names)):
        yield from _from_cuda(node, module, source)
    elif module.startswith("torch.backends"):
        found = [a for a in node.names if a.name in ("cudnn", "cuda")]
        if found or module.startswith("torch.backends.cud"):
            yield Finding(node, "safe", _ANYWHERE)
    else:
        yield from _from_package(node, module, source)


def _from_cuda(node: ast.ImportFrom, module: str, source: Source) -> Iterator[Finding]:
    names = [a.name for a in node.names]
    if module != "torch.cuda" or "amp" not in names or has_values(source):
        yield Finding(node, "safe", _ANYWHERE)
    elif len(names) > 1:
        yield Finding(node, "needs-you", "import amp from torch instead: its functions take the device's name first")
    else:
        start = source.data.index(b"torch.cuda", source.start(node))
        yield Finding(node, "rewritten", _EVERY_DEVICE, (Edit(start, start + len("torch.cuda"), "torch"),))


def _from_package(node: ast.ImportFrom, module: str, source: Source) -> Iterator[Finding]:
    """`from flash_attn import flash_attn_func`, or `from xformers import ops`."""
    inner = [f"{module}.{a.name}" for a in node.names]
    package = next((p for p in map(package_of, [*inner, module]) if p), None)
    if package is None:
        if _is_compiled(module, source):
            yield _compiled(node, module, source)
        return
    start = source.data.find(module.encode(), source.start(node), source.end(node))
    known = substitute_names(module)
    lacks = [a.name for a in node.names if a.name not in known]
    added = f"{home(source).prefix}{FOLDER}"
    if not lacks and start >= 0:
        edit = Edit(start, start + len(module), f"{added}.{wrapper_name(module)}")
        yield _substituted(node, module, source, edit)
    elif len(node.names) == 1 and inner[0] in table().substitutes and not _lacks(inner[0], source):
        name = node.names[0]
        text = f"from {added} import {wrapper_name(inner[0])} as {name.asname or name.name}"
        yield _substituted(node, inner[0], source, replace(source, node, text))
    else:
        yield _left(node, package, lacks if known else [], source)


def _module(node: ast.Import, alias: ast.alias, source: Source) -> Iterator[Finding]:
    """`import xformers.ops as xops`, `import flash_attn`."""
    package = package_of(alias.name)
    assert package is not None
    name = wrapper_name(alias.name)
    lacks = _lacks(alias.name, source)
    if alias.name not in table().substitutes or lacks or len(node.names) > 1 or _outside(alias, source):
        yield _left(node if len(node.names) == 1 else alias, package, lacks, source)
        return
    text = f"from {home(source).prefix}{FOLDER} import {name}" + (f" as {alias.asname}" if alias.asname else "")
    yield _substituted(node, alias.name, source, replace(source, node, text))
    if "." in alias.name and not alias.asname:
        for use in (n for n in _uses(alias.name, source) if source.resolve(n) == alias.name):
            yield Finding(use, "rewritten", "the added module stands for it", (replace(source, use, name),))


def _uses(module: str, source: Source) -> list[ast.Attribute]:
    """Where a file says the module's name, or one inside it."""
    names = ((n, source.resolve(n) or "") for n in source.nodes(ast.Attribute))
    return [n for n, name in names if name == module or name.startswith(f"{module}.")]


def _lacks(module: str, source: Source) -> list[str]:
    """What a file takes from a module that the substitute does not have; ['(nothing)'] where it takes nothing."""
    names = [(source.resolve(n) or "")[len(module) + 1 :].split(".")[0] for n in _uses(module, source)]
    taken = {name for name in names if name}
    return sorted(taken - substitute_names(module)) if taken else ["(nothing)"]


def _outside(alias: ast.alias, source: Source) -> bool:
    """Whether `import xformers.ops` also serves for other parts of xformers."""
    if alias.asname or "." not in alias.name:
        return False
    inside = {id(n) for n in _uses(alias.name, source)}
    return any(id(n) not in inside for n in _uses(alias.name.split(".")[0], source))


def _is_compiled(module: str, source: Source) -> bool:
    """Whether a module that is no file of the project says in its name that it is built from CUDA sources."""
    return "." not in module and "cuda" in module.lower() and source.project.modules.find(module) is None


def _compiled(node: ast.AST, module: str, source: Source) -> Finding:
    if is_guarded(node, source):
        return Finding(node, "safe", f"guarded: without {module}, which is built for CUDA, the program goes on")
    step = "build it for the chip, or call what computes the same in PyTorch where the device is not CUDA"
    return Finding(node, "needs-you", f"{module} is built from CUDA sources, by its name: {step}")


def _substituted(node: ast.AST, module: str, source: Source, edit: Edit) -> Finding:
    if source.target.audit:  # nothing is rewritten, and the vendor may not have the package
        return _left(node, package_of(module) or module, [], source)
    edits = [edit, *_fewer_results(source)] if module == "flash_attn.bert_padding" else [edit]
    reason = "the added module hands out the package on CUDA and the same in plain PyTorch elsewhere"
    adds = substitute(module, table().substitutes[module], source)
    return Finding(node, "rewritten", reason, tuple(edits), adds=adds)


def _fewer_results(source: Source) -> Iterator[Edit]:
    """`a, b, c, d = unpad_input(...)` was written before version 2.7, when four results came instead of five."""
    for node in source.nodes(ast.Assign):
        if not isinstance(node.value, ast.Call):
            continue
        if source.resolve(node.value.func) != "flash_attn.bert_padding.unpad_input":
            continue
        target = node.targets[0]
        four = isinstance(target, ast.Tuple | ast.List) and len(target.elts) == 4
        if four and not any(isinstance(e, ast.Starred) for e in ast.walk(target)):
            end = source.end(node.value)
            yield Edit(end, end, "[:4]")


def _left(node: ast.AST, package: str, lacks: list[str], source: Source) -> Finding:
    """What is not rewritten: a person's, or nobody's where the program goes on without it."""
    row = table().packages[package]
    chip = source.target.chip
    vendors = chip.platform.modules.get(package, "")
    if is_guarded(node, source):
        return Finding(node, "safe", f"guarded: without {package} ({row.what}) the program goes its other way")
    missing = [n for n in lacks if n != "(nothing)"]
    named = f"; the substitute lacks {', '.join(missing)}" if missing else ""
    step = f"the vendor has {vendors} for it; or {row.next}" if vendors else row.next
    if source.target.audit and vendors == package.partition(".")[0]:
        return Finding(node, "safe", f"the vendor has its own {vendors} ({chip.platform.source})")
    if source.target.audit and not vendors:
        doubt = f"no source says that {chip.title} has it, though its PyTorch device is 'cuda'"
        step = f"{doubt}: ask the vendor; or {row.next}"
    return Finding(node, "needs-you", f"{package} is {row.what}{named}: {step} ({row.source})")
