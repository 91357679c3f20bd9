"""Written by `xinqiao port --translate`: the packages named here run on the accelerator, and no other code changes.

Import this module before them. Their code is translated when it is imported: torch.cuda, .cuda(), .is_cuda and the
strings "cuda" and "nccl" mean the accelerator there. On CUDA, and without an accelerator, nothing is done. Code that
torch.jit.script reads from its file is not translated.
"""

import ast
import sys
from collections.abc import Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

import torch

PACKAGES: tuple[str, ...] = ()
NAME = (torch.accelerator.current_accelerator() or torch.device("cuda")).type


class _Amp:
    """torch.cuda.amp."""

    custom_fwd = partial(torch.amp.custom_fwd, device_type=NAME)
    custom_bwd = partial(torch.amp.custom_bwd, device_type=NAME)
    GradScaler = partial(torch.amp.GradScaler, NAME)

    @staticmethod
    def autocast(enabled: Any = True, dtype: Any = torch.float16, cache_enabled: Any = True) -> torch.amp.autocast:
        return torch.amp.autocast(NAME, dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)

    @property
    def autocast_mode(self) -> "_Amp":
        return self

    grad_scaler = common = autocast_mode


class _Cuda:
    """torch.cuda: the device's own module, and torch.accelerator for what that lacks."""

    amp = _Amp()

    def __getattr__(self, name: str) -> Any:
        for holder in (torch.get_device_module(NAME), torch.accelerator):
            if hasattr(holder, name):
                return getattr(holder, name)
        raise AttributeError(f"the device '{NAME}' has nothing like torch.cuda.{name}")


_CUDA = _Cuda()


def _cuda(owner: Any) -> Any:
    """`owner.cuda` that is not called."""
    if owner is torch:
        return _CUDA
    if owner in (torch.Tensor, torch.nn.Module):
        return _to
    return partial(_to, owner) if isinstance(owner, torch.Tensor | torch.nn.Module) else owner.cuda


def _to(owner: Any, *arguments: Any, **named: Any) -> Any:
    """`owner.cuda(...)`."""
    if getattr(type(owner), "cuda", None) not in (torch.Tensor.cuda, torch.nn.Module.cuda):
        return owner.cuda(*arguments, **named)
    device, *rest = arguments or (None,)
    device = named.pop("device", device)
    if device is None or isinstance(device, int):
        device = torch.device(NAME) if device is None else torch.device(NAME, device)
    if rest:
        named["non_blocking"] = rest[0]
    return owner.to(device, **named)


def _is_cuda(owner: Any) -> Any:
    return owner.device.type == NAME if isinstance(owner, torch.Tensor) else owner.is_cuda


def _imported(path: str) -> Any:
    """What `from torch.cuda... import ...` gives."""
    found: Any = _CUDA
    for name in path.split(".")[2:]:
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ImportError(str(error)) from error
    return found


_NAMES = {"_xinqiao_cuda": _cuda, "_xinqiao_to": _to, "_xinqiao_is_cuda": _is_cuda, "_xinqiao_imported": _imported}


class _Translate(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        value = node.value
        if isinstance(value, str) and (value == "cuda" or value.startswith("cuda:")):
            return ast.copy_location(ast.Constant(NAME + value.removeprefix("cuda")), node)
        if value == "nccl" and torch.distributed.is_available():
            backend = torch.distributed.get_default_backend_for_device(NAME)
            return ast.copy_location(ast.Constant(backend), node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or node.attr not in ("cuda", "is_cuda"):
            return node
        return _call(node, f"_xinqiao_{node.attr}", [node.value])

    def visit_Call(self, node: ast.Call) -> ast.expr:
        function = node.func
        if not (isinstance(function, ast.Attribute) and function.attr == "cuda"):
            self.generic_visit(node)
            return node
        moved = _call(node, "_xinqiao_to", [function.value, *node.args], node.keywords)
        self.generic_visit(moved)
        return moved

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        bound = {a.asname: a.name for a in node.names if a.asname and _is_cuda_module(a.name)}
        left = [a for a in node.names if a.asname not in bound]
        kept: list[ast.stmt] = [ast.copy_location(ast.Import(left), node)] if left else []
        return kept + [_assign(node, name, path) for name, path in bound.items()]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        bound = {
            a.asname or a.name: f"{node.module}.{a.name}"
            for a in node.names
            if not node.level and a.name != "*" and _is_cuda_module(f"{node.module}.{a.name}")
        }
        left = [a for a in node.names if (a.asname or a.name) not in bound]
        kept = [ast.copy_location(ast.ImportFrom(node.module, left, node.level), node)] if left else []
        return [*kept, *(_assign(node, name, path) for name, path in bound.items())]


def _is_cuda_module(path: str) -> bool:
    return path == "torch.cuda" or path.startswith("torch.cuda.")


def _call(at: ast.expr, name: str, arguments: list[ast.expr], keywords: list[ast.keyword] | None = None) -> ast.Call:
    return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), arguments, keywords or []), at)


def _assign(at: ast.stmt, name: str, path: str) -> ast.stmt:
    value = ast.Call(ast.Name("_xinqiao_imported", ast.Load()), [ast.Constant(path)], [])
    return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), at)


class _Loader(SourceFileLoader):
    def path_stats(self, path: Any) -> Any:
        raise OSError("the compiled file beside the source is of the code as it was")

    def source_to_code(self, data: Any, path: Any, *, _optimization: int = -1) -> CodeType:  # type: ignore[override]
        tree = ast.fix_missing_locations(_Translate().visit(ast.parse(data, path)))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=_optimization)
        return code

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(_NAMES)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        others = (f for f in sys.meta_path if f is not self)
        spec = next(filter(None, (f.find_spec(fullname, path, target) for f in others)), None)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


if NAME != "cuda":
    early = sorted({name.partition(".")[0] for name in sys.modules} & set(PACKAGES))
    if early:
        raise ImportError(f"import xinqiao_translate before {', '.join(early)}: it was imported untranslated")
    sys.meta_path.insert(0, _Finder())
