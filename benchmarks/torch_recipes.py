"""Conversions as their users run them on a CPU: plain PyTorch, a tensor at a time. Also how the benchmarks time."""

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Work = Callable[[int], object]  # told which of the copies to work on


def minima(works: Mapping[str, Work], copies: int, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """The shortest seconds of each, in rounds in which all take turns."""
    found = dict.fromkeys(works, float("inf"))
    for round_ in range(rounds * copies):
        for name, work in works.items():
            begun = clock()
            work(round_ % copies)
            found[name] = min(found[name], clock() - begun)
    return found


def clock_of(threads: int) -> Callable[[], float]:
    """This thread's own time where it works alone, so that other programs do not count; else the wall's."""
    return time.thread_time if threads == 1 else time.perf_counter


def deepgemm(weight: Tensor) -> tuple[Tensor, Tensor]:
    """bf16 → e4m3 and fp32 powers of two, rounded up, for 128 x 128: DeepGEMM's per_block_cast_to_fp8, use_ue8m0."""
    rows, columns = weight.shape
    blocks = weight.view(rows // 128, 128, columns // 128, 128)
    amax = blocks.abs().float().amax((1, 3), keepdim=True).clamp(1e-4)
    scale = torch.exp2(torch.ceil(torch.log2(amax / 448.0)))
    codes = (blocks * (1.0 / scale)).to(torch.float8_e4m3fn)
    return codes.view(rows, columns), scale.view(rows // 128, columns // 128)


def dequantized(codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """e4m3 with scales for 128 x 128 → dtype: the scales are spread over all weights, and multiplied in fp32."""
    wide = scales.repeat_interleave(128, 0)[: codes.shape[0]].repeat_interleave(128, 1)[:, : codes.shape[1]]
    return (codes.float() * wide).to(dtype)


def per_channel(weight: Tensor) -> tuple[Tensor, Tensor]:
    """fp32 → int8 with a scale for each row."""
    scale = weight.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return (weight / scale).round().clamp(-128, 127).to(torch.int8), scale
