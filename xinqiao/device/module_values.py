"""Notes in the journal what each `nn.Module` is given and gives, and its gradients, by their hash."""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from xinqiao.device import api
from xinqiao.device.lines import is_user_file
from xinqiao.device.watch import Watch


def mark_modes(mark: Callable[[str], object], device: str) -> None:
    """Mark in the journal where the program enters mixed precision on the device, and where it stops autograd."""

    def autocast(mode: Any, _caller: str) -> str:  # torch.cuda.amp's is a class above it: any caller
        on = mode.device == device and mode._enabled
        return f"autocast {str(mode.fast_dtype).removeprefix('torch.')}" if on else ""

    def no_gradients(_mode: Any, caller: str) -> str:  # PyTorch's own steps stop autograd all the time
        return "no gradients" if is_user_file(caller) else ""

    _mark_entering(mark, torch.autocast, autocast)
    _mark_entering(mark, torch.no_grad, no_gradients)
    _mark_entering(mark, torch.inference_mode, no_gradients)


def _mark_entering(mark: Callable[[str], object], mode: type, words: Callable[[Any, str], str]) -> None:
    enter = mode.__enter__  # type: ignore[attr-defined]

    def entered(self: Any) -> Any:
        said = words(self, sys._getframe(1).f_code.co_filename)
        if said:
            mark(said)
        return enter(self)

    api.replace(mode, __enter__=entered)


class ModuleValues:
    """Hooks of PyTorch's own; the graph that autograd builds is the program's.

    note   takes tensors, what they are ('module inputs'), and the module's number
    """

    def __init__(self, watch: Watch, device: str, note: Callable[[list[torch.Tensor], str, int], object]) -> None:
        self._watch, self._device, self._note = watch, device, note
        api.hook(register_module_forward_pre_hook, self._given)
        api.hook(register_module_forward_hook, self._gives)
        register_optimizer_step_pre_hook(self._step)
        self._owners: dict[int, int] = {}  # id of a parameter → its module's number

    def _given(self, module: torch.nn.Module, inputs: Any) -> None:
        self._keep(list(self._tensors(inputs)), "module inputs", self._watch.number(module))

    def _gives(self, module: torch.nn.Module, _inputs: Any, outputs: Any) -> None:
        tensors, number = list(self._tensors(outputs)), self._watch.number(module)
        self._keep(tensors, "module outputs", number)
        for i, tensor in enumerate(tensors):
            if tensor.requires_grad and not torch.compiler.is_compiling():
                tensor.register_hook(partial(self._gradient, number, i))

    def _gradient(self, number: int, place: int, gradient: torch.Tensor) -> None:
        self._keep(list(self._tensors(gradient)), f"module output gradient {place}", number)

    def _step(self, optimizer: torch.optim.Optimizer, _arguments: Any, _named: Any) -> None:
        of: dict[int, list[torch.Tensor]] = defaultdict(list)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    of[self._owner(parameter)] += self._tensors(parameter.grad)
        for number, gradients in sorted(of.items()):
            self._keep(gradients, "module parameter gradients", number)

    def _owner(self, parameter: torch.nn.Parameter) -> int:
        if id(parameter) not in self._owners:
            for module, number in self._watch.known():
                for own in module.parameters(recurse=False):
                    self._owners.setdefault(id(own), number)
        return self._owners.setdefault(id(parameter), 0)

    def _keep(self, tensors: list[torch.Tensor], name: str, number: int) -> None:
        if tensors and not torch.compiler.is_compiling():
            self._note(tensors, name, number)

    def _tensors(self, value: Any) -> Iterator[torch.Tensor]:
        """The dense device tensors in a value as modules pass it: alone, or in tuples, lists and dictionaries."""
        if isinstance(value, torch.Tensor):
            plain = type(value) in (torch.Tensor, torch.nn.Parameter) and not is_functorch_wrapped_tensor(value)
            if plain and value.device.type == self._device:
                yield value
        elif isinstance(value, list | tuple):
            for part in value:
                yield from self._tensors(part)
        elif isinstance(value, dict):
            for part in value.values():
                yield from self._tensors(part)
