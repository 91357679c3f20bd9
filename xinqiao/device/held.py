"""What a program's long-lived memory is: parameters, buffers, gradients, states of optimizers."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from xinqiao.device import api
from xinqiao.device.watch import Watch


class Held:
    """Follows the optimizers. Parameters and buffers are those of modules that ran."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._gradients: dict[int, int] = {}  # bytes by device, the most that a step found
        self._states: dict[int, dict[int, int]] = {}  # by optimizer
        api.hook(register_optimizer_step_pre_hook, self._before)
        api.hook(register_optimizer_step_post_hook, self._after)

    def parts(self, device: int) -> dict[str, int]:
        """Bytes by part on one device; no part that is empty."""
        modules = [m for m, _ in self._watch.known()]
        found = {
            "parameters": _bytes(p for m in modules for p in m.parameters(recurse=False)),
            "buffers": _bytes(b for m in modules for b in m.buffers(recurse=False)),
            "gradients": self._gradients,
        }
        parts = {part: sizes.get(device, 0) for part, sizes in found.items()}
        parts["optimizer"] = sum(states.get(device, 0) for states in self._states.values())
        return {part: size for part, size in parts.items() if size}

    def _before(self, optimizer: torch.optim.Optimizer, _arguments: Any, _named: Any) -> None:
        found = _bytes(p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
        for device, size in found.items():
            self._gradients[device] = max(size, self._gradients.get(device, 0))

    def _after(self, optimizer: torch.optim.Optimizer, _arguments: Any, _named: Any) -> None:
        states = (v for state in optimizer.state.values() for v in state.values() if isinstance(v, torch.Tensor))
        self._states[id(optimizer)] = _bytes(states)


def _bytes(tensors: Iterable[torch.Tensor]) -> dict[int, int]:
    """By device; memory that several tensors share counts once, memory of the host not at all."""
    storages = {t.untyped_storage()._cdata: t for t in tensors if t.device.type not in ("cpu", "meta")}
    found: dict[int, int] = {}
    for tensor in storages.values():
        index = tensor.device.index or 0
        found[index] = found.get(index, 0) + tensor.untyped_storage().nbytes()
    return found
