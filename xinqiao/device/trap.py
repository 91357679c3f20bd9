"""Notes every use of `torch.cuda` by a program that runs on another vendor's device. Nothing is refused: PyTorch's own
answer for a machine without CUDA is given, so that one run finds all of them."""

import functools
import sys
import types
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from xinqiao.device import api
from xinqiao.device.lines import is_user_file

Place = tuple[str, str, int, str]  # name, file, line, function
_MODULES = ("torch.cuda", "torch.cuda.amp", "torch.cuda.nvtx", "torch.cuda.random", "torch.cuda.memory",
            "torch.cuda.streams", "torch.cuda.graphs", "torch.backends.cuda")  # fmt: skip


class Trap:
    """uses: how often each place used each name."""

    def __init__(self) -> None:
        self.uses: Counter[Place] = Counter()
        for name in _MODULES:
            module = sys.modules.get(name)
            if module is not None:
                self._watch(module, name)
        self._watch_attribute(torch.Tensor, "is_cuda")
        self._watch_method(torch.Tensor, "cuda")
        self._watch_method(torch.nn.Module, "cuda")

    def _watch(self, module: types.ModuleType, name: str) -> None:
        for part, value in list(vars(module).items()):
            if isinstance(value, types.FunctionType | types.BuiltinFunctionType) and not part.startswith("_"):
                api.replace(module, **{part: self._noting(value, f"{name}.{part}")})

    def _noting(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def noted(*arguments: Any, **named: Any) -> Any:
            self._note(name, sys._getframe(1))
            return function(*arguments, **named)

        return noted

    def _watch_method(self, owner: type, name: str) -> None:
        api.replace(owner, **{name: self._noting(getattr(owner, name), f"{owner.__name__}.{name}")})

    def _watch_attribute(self, owner: type, name: str) -> None:
        plain = getattr(owner, name)

        def noted(tensor: torch.Tensor) -> bool:
            self._note(f"{owner.__name__}.{name}", sys._getframe(1))
            return bool(plain.__get__(tensor))

        api.replace(owner, **{name: property(noted)})

    def _note(self, name: str, frame: types.FrameType) -> None:
        code = frame.f_code
        if is_user_file(code.co_filename):
            self.uses[name, code.co_filename, frame.f_lineno, code.co_qualname] += 1
