"""The loss of flash_attn.losses.cross_entropy in plain PyTorch.

Source: docstrings of flash_attn/losses/cross_entropy.py, https://github.com/Dao-AILab/flash-attention
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CrossEntropyLoss"]


class CrossEntropyLoss(nn.Module):
    """Cross entropy in float32 (float64 for float64), with a penalty on the log-sum-exp of the logits.

    lse_square_scale   factor on the squared log-sum-exp that is added ("z-loss")
    logit_scale        factor on the logits
    return_z_loss      also return that penalty, without gradient
    inplace_backward   saves memory there; changes nothing here
    NotImplementedError with a process_group, which splits the vocabulary there.
    """

    def __init__(
        self,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        logit_scale: float = 1.0,
        lse_square_scale: float = 0.0,
        inplace_backward: bool = False,
        process_group: object = None,
        return_z_loss: bool = False,
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "none", "sum"):
            raise NotImplementedError("reduction is one of 'mean', 'none', 'sum'")
        if process_group is not None:
            raise NotImplementedError("process_group: the vocabulary cannot be split here")
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.logit_scale = logit_scale
        self.lse_square_scale = lse_square_scale
        self.return_z_loss = return_z_loss

    def forward(self, input: Tensor, target: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """input (n, classes), target (n,) → a scalar, or (n,) for reduction 'none'."""
        logits = input.to(torch.promote_types(input.dtype, torch.float32)) * self.logit_scale
        losses = F.cross_entropy(
            logits, target, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing, reduction="none"
        )
        counted = target != self.ignore_index
        penalty = self.lse_square_scale * torch.logsumexp(logits, -1).square() * counted
        losses = losses + penalty
        if not self.return_z_loss:
            return self._reduced(losses, counted)
        return self._reduced(losses, counted), self._reduced(penalty.detach(), counted)

    def _reduced(self, losses: Tensor, counted: Tensor) -> Tensor:
        if self.reduction == "none":
            return losses
        return losses.sum() / counted.sum() if self.reduction == "mean" else losses.sum()
