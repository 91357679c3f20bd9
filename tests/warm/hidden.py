"""Modules that have been imported, put away until the program imports them.

Imports of PyTorch, and of its compiler, without which no optimizer can be made, take seconds of processor time each.
"""

import atexit
import gc
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import program


class Hidden(MetaPathFinder, Loader):
    """What the import of `name` adds, beside Python's own modules; whichever of it is imported brings back all."""

    def __init__(self, name: str) -> None:
        before = set(sys.modules) | sys.stdlib_module_names
        importlib.import_module(name)
        added = {n: m for n, m in sys.modules.items() if n not in before}
        self.modules = {n: m for n, m in added.items() if n.partition(".")[0] not in sys.stdlib_module_names}
        self.spec: ModuleSpec | None = None

    def hide(self) -> None:
        for name in self.modules:
            del sys.modules[name]

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        module = self.modules.get(name)
        found = PathFinder.find_spec(name, path) if module else None
        if found is None or found.origin != getattr(module, "__file__", None):  # another one on the program's path
            return None
        found.loader = self
        return found

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = self.modules[spec.name]
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        sys.meta_path.remove(self)
        sys.modules.update(self.modules)
        with suppress(AttributeError):  # settings of PyTorch's that take no other names
            module.__spec__ = self.spec


@contextmanager
def _no_triton() -> Iterator[None]:
    """Triton's own end complains of objects that no collection has freed; nothing that runs eagerly asks for it."""
    from torch.utils import _triton

    sys.modules["triton"] = None  # type: ignore[assignment]
    yield
    del sys.modules["triton"]
    for function in vars(_triton).values():
        getattr(function, "cache_clear", lambda: None)()


class Torch(Hidden):
    """PyTorch, whose import has begin what it begins, and its compiler, from then on."""

    def __init__(self) -> None:
        super().__init__("torch")
        with _no_triton():
            self.compiler = Hidden("torch._dynamo")
        for part in (self.compiler, self):
            part.hide()
        sys.meta_path.insert(0, self)
        gc.collect()
        gc.freeze()  # pages that no collection touches stay shared

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        atexit.unregister(program.leave_at_once)
        sys.meta_path.insert(0, self.compiler)
        torch = self.modules["torch"]
        torch.default_generator.seed()  # another one in each process
        if torch._is_device_backend_autoload_enabled():
            torch._import_device_backends()
        torch._logging._init_logs()
