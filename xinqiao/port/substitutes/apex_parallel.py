"""The wrappers of apex.parallel, by those of torch.nn.

Source: docstrings of apex/parallel/distributed.py and sync_batchnorm.py, https://github.com/NVIDIA/apex
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["DistributedDataParallel", "SyncBatchNorm", "convert_syncbn_model"]
_ONLY_SPEED = {"message_size", "num_allreduce_streams", "allreduce_communicators", "prof", "allreduce_trigger_params"}


class DistributedDataParallel(nn.parallel.DistributedDataParallel):
    """Gradients averaged over all processes. Arguments that choose how they are sent change nothing here.

    delay_allreduce   averages after the whole backward pass there, so that a parameter without a gradient is allowed
    NotImplementedError for arguments that change the numbers (allreduce_always_fp32, gradient_predivide_factor,
    gradient_average=False) or what is shared.
    """

    def __init__(
        self, module: nn.Module, message_size: int = 10_000_000, delay_allreduce: bool = False, **more: Any
    ) -> None:
        usual = {"gradient_average": True, "gradient_predivide_factor": 1.0}
        odd = sorted(k for k, v in more.items() if k not in _ONLY_SPEED and v and v != usual.get(k))
        odd += [k for k in usual if k in more and not more[k]]
        if odd:
            raise NotImplementedError(f"DistributedDataParallel: no counterpart in PyTorch for {', '.join(odd)}")
        super().__init__(module, find_unused_parameters=delay_allreduce)


class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch normalisation over all processes. NotImplementedError for channel_last and fuse_relu."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        channel_last: bool = False,
        fuse_relu: bool = False,
    ) -> None:
        if channel_last or fuse_relu:
            raise NotImplementedError("SyncBatchNorm: channel_last and fuse_relu are not there in torch.nn")
        super().__init__(num_features, eps, momentum, affine, track_running_stats, process_group)


def convert_syncbn_model(module: nn.Module, process_group: Any = None, channel_last: bool = False) -> nn.Module:
    """Every batch normalisation of a module replaced by one over all processes."""
    if channel_last:
        raise NotImplementedError("convert_syncbn_model: channel_last is not there in torch.nn")
    result: nn.Module = torch.nn.SyncBatchNorm.convert_sync_batchnorm(module, process_group)
    return result
