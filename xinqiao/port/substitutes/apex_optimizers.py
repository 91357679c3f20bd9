"""The optimizers of apex.optimizers in plain PyTorch.

Their state has the same names and dtypes, so that checkpoints go both ways.

Source: docstrings and update rules of apex/optimizers and csrc/multi_tensor_{adam,lamb,sgd}_kernel.cu,
https://github.com/NVIDIA/apex
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["FusedAdam", "FusedLAMB", "FusedSGD"]


class _Moments(torch.optim.Optimizer):
    """What Adam and LAMB share: two moments a parameter, one step count a group, float32 arithmetic."""

    wide_state = True  # moments are float32 whatever the parameter's dtype

    def __init__(
        self, params: Iterable[Any], defaults: dict[str, Any], *, adam_w_mode: bool, set_grad_none: bool
    ) -> None:
        super().__init__(params, defaults)
        self.adam_w_mode = adam_w_mode
        self.set_grad_none = set_grad_none

    def zero_grad(self, set_to_none: bool | None = None) -> None:
        super().zero_grad(self.set_grad_none if set_to_none is None else set_to_none)

    def _updates(self, group: dict[str, Any], averaging: float, divisor: Tensor | float) -> Iterator[tuple[Any, ...]]:
        """(parameter, the same widened, Adam's step for it with its weight decay); the moments have moved on."""
        group["step"] = group.get("step", 0) + 1
        beta1, beta2 = group["betas"]
        correct1, correct2 = (1 - b ** group["step"] if group["bias_correction"] else 1.0 for b in (beta1, beta2))
        for p in (p for p in group["params"] if p.grad is not None):
            if p.grad.is_sparse:
                raise RuntimeError("sparse gradients are not supported")
            wide = p.to(torch.promote_types(p.dtype, torch.float32))
            state = self.state[p]
            if not state:
                zeros = torch.zeros_like(wide if self.wide_state else p)
                state.update(exp_avg=zeros, exp_avg_sq=zeros.clone())
            grad = p.grad.to(wide.dtype) / divisor
            decay = group["weight_decay"] * wide
            grad = grad if self.adam_w_mode else grad + decay
            first = state["exp_avg"].to(wide.dtype) * beta1 + averaging * grad
            second = state["exp_avg_sq"].to(wide.dtype) * beta2 + (1 - beta2) * grad * grad
            state["exp_avg"].copy_(first)
            state["exp_avg_sq"].copy_(second)
            update = (first / correct1) / ((second / correct2).sqrt() + group["eps"])
            yield p, wide, update + decay if self.adam_w_mode else update


class FusedAdam(_Moments):
    """Adam with decoupled weight decay (adam_w_mode, the default) or with L2 decay.

    NotImplementedError for capturable and master_weights. RuntimeError for amsgrad, as there.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        adam_w_mode: bool = True,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        set_grad_none: bool = True,
        capturable: bool = False,
        master_weights: bool = False,
    ) -> None:
        if amsgrad:
            raise RuntimeError("FusedAdam has no AMSGrad")
        if capturable or master_weights:
            raise NotImplementedError("FusedAdam: capturable and master_weights belong to CUDA graphs and apex.amp")
        defaults = {"lr": lr, "bias_correction": bias_correction, "betas": betas, "eps": eps}
        defaults["weight_decay"] = weight_decay
        super().__init__(params, defaults, adam_w_mode=adam_w_mode, set_grad_none=set_grad_none)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = _loss(closure)
        for group in self.param_groups:
            for p, wide, update in self._updates(group, 1 - group["betas"][0], 1.0):
                p.copy_(wide - group["lr"] * update)
        return loss


class FusedLAMB(_Moments):
    """LAMB: Adam's step, scaled for each parameter by its norm over the step's; gradients are clipped together first.

    use_nvlamb   scale parameters without weight decay too
    RuntimeError for amsgrad, as there.
    """

    wide_state = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        adam_w_mode: bool = True,
        grad_averaging: bool = True,
        set_grad_none: bool = True,
        max_grad_norm: float = 1.0,
        use_nvlamb: bool = False,
    ) -> None:
        if amsgrad:
            raise RuntimeError("FusedLAMB has no AMSGrad")
        defaults = {"lr": lr, "bias_correction": bias_correction, "betas": betas, "eps": eps}
        more = {"weight_decay": weight_decay, "grad_averaging": grad_averaging, "max_grad_norm": max_grad_norm}
        super().__init__(params, {**defaults, **more}, adam_w_mode=adam_w_mode, set_grad_none=set_grad_none)
        self.use_nvlamb = use_nvlamb

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = _loss(closure)
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not grads:
            return loss
        norms = torch.stack([torch.linalg.vector_norm(g, dtype=_wide(g)) for g in grads])
        divisor = (torch.linalg.vector_norm(norms) / self.defaults["max_grad_norm"]).clamp(min=1.0)
        for group in self.param_groups:
            averaging = 1 - group["betas"][0] if group["grad_averaging"] else 1.0
            for p, wide, update in self._updates(group, averaging, divisor):
                rate = group["lr"]
                if self.use_nvlamb or group["weight_decay"]:
                    size, length = torch.linalg.vector_norm(wide), torch.linalg.vector_norm(update)
                    rate = rate * torch.where((size > 0) & (length > 0), size / length, torch.ones_like(size))
                p.copy_(wide - rate * update)
        return loss


class FusedSGD(torch.optim.SGD):
    """torch.optim.SGD, whose update is the same. NotImplementedError for weight decay after momentum."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        wd_after_momentum: bool = False,
        materialize_master_grads: bool = True,
        set_grad_none: bool = False,
    ) -> None:
        if wd_after_momentum and weight_decay:
            raise NotImplementedError("FusedSGD: weight decay after momentum is not there in torch.optim.SGD")
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov)
        self.set_grad_none = set_grad_none

    def zero_grad(self, set_to_none: bool | None = None) -> None:
        super().zero_grad(self.set_grad_none if set_to_none is None else set_to_none)


def _loss(closure: Callable[[], Any] | None) -> Any:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
