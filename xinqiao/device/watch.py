"""Tells the core which `nn.Module` is running, so that memory can be put under a module's name."""

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from xinqiao.device import api


class Watch:
    """Uses PyTorch's global module hooks; nothing of the user's program is wrapped.

    tell   is called with the number of the module that runs from now on
    """

    def __init__(self, tell: Callable[[int], object]) -> None:
        self.tell = tell
        self.modules: list[str] = [""]  # number → 'GPT.blocks.0.attn'; the core keeps numbers
        self._numbers: dict[str, int] = {"": 0}
        self._running: list[int] = []
        self._known: weakref.WeakKeyDictionary[torch.nn.Module, int] = weakref.WeakKeyDictionary()
        api.hook(register_module_forward_pre_hook, self._enter)
        api.hook(partial(register_module_forward_hook, always_call=True), self._leave)

    def _enter(self, module: torch.nn.Module, _inputs: Any) -> None:
        if module not in self._known:
            self._name(module)
        self._running.append(self._known[module])
        self.tell(self._running[-1])

    def _leave(self, _module: torch.nn.Module, _inputs: Any, _output: Any) -> None:
        if self._running:
            self._running.pop()
        self.tell(self.running)

    @property
    def running(self) -> int:
        """Number of the innermost module that is running; 0 outside any."""
        return self._running[-1] if self._running else 0

    def number(self, module: torch.nn.Module) -> int:
        """A module's number; 0 where it has not run yet and is part of none that has."""
        return self._known.get(module, 0)

    def known(self) -> list[tuple[torch.nn.Module, int]]:
        """All modules that have run, or are parts of one that has, with their numbers."""
        return list(self._known.items())

    def _name(self, root: torch.nn.Module) -> None:
        above = self.modules[self._running[-1]] if self._running else ""
        base = f"{above}.{type(root).__name__}" if above else type(root).__name__
        for path, module in root.named_modules():
            name = f"{base}.{path}" if path else base
            if name not in self._numbers:
                self._numbers[name] = len(self.modules)
                self.modules.append(name)
            self._known.setdefault(module, self._numbers[name])
