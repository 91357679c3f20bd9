"""Imports of CUDA's modules and of packages that exist only for CUDA.

What it does: `torch.cuda` may be imported anywhere and stays; `from torch.cuda.amp import autocast` becomes an import
from `torch.amp`; a CUDA-only package needs you, with what to use instead.
Why: the package is missing on another device, or stops at import.
Unsafe when: never seen.
Source: PyTorch 2.13, torch/cuda/amp/__init__.py, torch/amp/__init__.py; the packages' own installation pages.

    from torch.cuda.amp import autocast    →    from torch.amp import autocast
"""

import ast
from collections.abc import Iterator

from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Edit, Source
from xinqiao.port.words import CUDA_ONLY_PACKAGES

_AMP = ("torch.cuda.amp", "torch.cuda.amp.autocast_mode", "torch.cuda.amp.grad_scaler")
_EXTENSIONS = ("CUDAExtension", "CUDA_HOME")


@rule(ast.Import)
def plain(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Import)
    for alias in node.names:
        if alias.name.startswith("torch.cuda.amp") and alias.asname:
            text = source.text(node).replace(alias.name, "torch.amp", 1)
            edit = Edit(source.start(node), source.end(node), text)
            yield Finding(node, "rewritten", "torch.amp has it for every device", (edit,))
        elif alias.name.startswith(("torch.cuda", "torch.backends.cud")):
            yield Finding(alias, "safe", "the module can be imported everywhere; its uses are looked at")
        else:
            yield from _package(alias, alias.name, node, source)


@rule(ast.ImportFrom)
def names(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.ImportFrom)
    module = node.module or ""
    if node.level:
        return
    if module in _AMP:
        start = source.data.index(module.encode(), source.start(node))
        edit = Edit(start, start + len(module), "torch.amp")
        yield Finding(node, "rewritten", "torch.amp has it for every device", (edit,))
    elif module.startswith("torch.cuda") or (module == "torch" and any(a.name == "cuda" for a in node.names)):
        yield from _from_cuda(node, module, source)
    elif module.startswith("torch.backends"):
        found = [a for a in node.names if a.name in ("cudnn", "cuda")]
        if found or module.startswith("torch.backends.cud"):
            yield Finding(node, "safe", "the module can be imported everywhere; its uses are looked at")
    elif any(a.name in _EXTENSIONS for a in node.names):
        reason = "CUDA sources are compiled here: the kernels need a version for the chip, or one in PyTorch"
        yield Finding(node, "needs-you", reason)
    else:
        yield from _package(node, module, node, source)


def _from_cuda(node: ast.ImportFrom, module: str, source: Source) -> Iterator[Finding]:
    names = [a.name for a in node.names]
    if module != "torch.cuda" or "amp" not in names:
        yield Finding(node, "safe", "the module can be imported everywhere; its uses are looked at")
    elif len(names) > 1:
        yield Finding(node, "needs-you", "import amp from torch instead: its functions take the device's name first")
    else:
        start = source.data.index(b"torch.cuda", source.start(node))
        edit = Edit(start, start + len("torch.cuda"), "torch")
        yield Finding(node, "rewritten", "torch.amp has it for every device", (edit,))


def _package(node: ast.AST, name: str, statement: ast.stmt, source: Source) -> Iterator[Finding]:
    package = next((p for p in CUDA_ONLY_PACKAGES if name == p or name.startswith(f"{p}.")), None)
    if package is None:
        return
    guarded = _is_guarded(statement, source)
    rest = "; the program runs without it, but slower or with less" if guarded else ""
    yield Finding(node, "needs-you", f"{package} exists for CUDA only{rest}: {CUDA_ONLY_PACKAGES[package]}")


def _is_guarded(statement: ast.AST, source: Source) -> bool:
    parent = source.parent(statement)
    while parent is not None and not isinstance(parent, ast.Try):
        parent = source.parent(parent)
    return parent is not None
