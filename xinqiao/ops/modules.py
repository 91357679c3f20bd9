"""Linear layers with 8-bit weights, stored as checkpoints store them: for inference, and gradients of inputs."""

from collections.abc import Callable
from math import ceil
from typing import Self

import torch
from torch import Tensor, nn

from xinqiao.errors import InputError
from xinqiao.formats.blocks import quantize
from xinqiao.ops.backend import kernel
from xinqiao.ops.linear import linear_block_fp8, linear_int8
from xinqiao.ops.register import unwatched

Block = tuple[int, int]
_SCALES = {  # block and dtype of its scales → the name that checkpoints give them
    ((128, 128), torch.float32): "weight_scale_inv",
    ((128, 128), torch.float8_e8m0fnu): "scale",
    ((1, 32), torch.uint8): "weight_scale",
}


class _Quantized(nn.Module):
    """A linear layer whose weights and scales are buffers that keep their dtypes when the model is converted."""

    weight: Tensor
    bias: nn.Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: Tensor | None) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001 - PyTorch's signature
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = self._buffers[name]
            if old is not None and new is not None and new.dtype != old.dtype:
                self._buffers[name] = old.to(new.device)
        return self

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Fp8Linear(_Quantized):
    """`linear_block_fp8` and its weights.

    weight            float8_e4m3fn [out_features, in_features]
    weight_scale_inv  float32, for blocks of (128, 128), or
    scale             float8_e8m0fnu, for blocks of (128, 128), or
    weight_scale      UE8M0 bytes as uint8, for blocks of (1, 32): what codes are multiplied by
    bias              [out_features], or None

    The weights are buffers, zero until a state dict is loaded. activation: see `linear_block_fp8`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        block: Block = (128, 128),
        scale_dtype: torch.dtype = torch.float32,
        activation: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_features, out_features, torch.zeros(out_features, device=device, dtype=dtype) if bias else None
        )
        if (block, scale_dtype) not in _SCALES:
            known = ", ".join(f"{kind} of {size}" for size, kind in _SCALES)
            raise InputError(f"Fp8Linear: no scales {scale_dtype} of {block}; there are {known}")
        self.block, self.activation = block, activation
        self.scale_name = _SCALES[block, scale_dtype]
        grid = ceil(out_features / block[0]), ceil(in_features / block[1])
        codes = torch.zeros(out_features, in_features, dtype=torch.uint8, device=device)
        self.register_buffer("weight", codes.view(torch.float8_e4m3fn))
        self.register_buffer(self.scale_name, torch.ones(grid, dtype=torch.float32, device=device).to(scale_dtype))

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        *,
        block: Block = (128, 128),
        scale_dtype: torch.dtype = torch.float32,
        activation: str | None = None,
    ) -> Self:
        """The layer's weights rounded to e4m3, with powers of two as scales (rule 'ceil'); the bias as it is."""
        weight = linear.weight.detach()
        found = cls(
            linear.in_features,
            linear.out_features,
            bias=False,
            block=block,
            scale_dtype=scale_dtype,
            activation=activation,
            device=weight.device,
        )
        codes, scales = quantize(weight.float().cpu(), "e4m3fn", block, "pow2", "ceil")
        found.weight.copy_(codes.to(torch.uint8).view(torch.float8_e4m3fn))
        kept = scales if scale_dtype == torch.float32 else scales.to(torch.float8_e8m0fnu)
        getattr(found, found.scale_name).copy_(kept.view(torch.uint8) if scale_dtype == torch.uint8 else kept)
        found.bias = linear.bias
        return found

    def forward(self, x: Tensor) -> Tensor:
        weight, scale, bias = self._buffers["weight"], self._buffers[self.scale_name], self.bias
        assert weight is not None and scale is not None
        if _fits(x, weight) and unwatched(x, weight, bias):
            run = kernel("linear", "linear_block_fp8", x.device, x.dtype)
            found: Tensor = run(x, weight, scale, bias, self.block, self.activation)
            return found
        return linear_block_fp8(x, weight, scale, bias, block=self.block, activation=self.activation)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, block={self.block}, scales={self.scale_name}, activation={self.activation}"


class Int8Linear(_Quantized):
    """`linear_int8` and its weights.

    weight        int8 [out_features, in_features]
    weight_scale  float32 [out_features, 1]
    bias          [out_features], or None

    The weights are buffers, zero until a state dict is loaded.
    """

    weight_scale: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            in_features, out_features, torch.zeros(out_features, device=device, dtype=dtype) if bias else None
        )
        self.register_buffer("weight", torch.zeros(out_features, in_features, dtype=torch.int8, device=device))
        self.register_buffer("weight_scale", torch.ones(out_features, 1, device=device, dtype=torch.float32))

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Self:
        """The layer's weights rounded to int8, the largest of each output to 127; the bias as it is."""
        weight = linear.weight.detach()
        found = cls(linear.in_features, linear.out_features, bias=False, device=weight.device)
        codes, scales = quantize(weight.float().cpu(), "int8", (1, 0), "f32")
        found.weight.copy_(codes.to(torch.uint8).view(torch.int8))
        found.weight_scale.copy_(scales)
        found.bias = linear.bias
        return found

    def forward(self, x: Tensor) -> Tensor:
        weight, scale, bias = self._buffers["weight"], self._buffers["weight_scale"], self.bias
        assert weight is not None and scale is not None
        if _fits(x, weight) and unwatched(x, weight, bias):
            run = kernel("linear", "linear_int8", x.device, x.dtype)
            found: Tensor = run(x, weight, scale.view(-1), bias)
            return found
        return linear_int8(x, weight, scale.view(-1), bias)


def _fits(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel can be called as it is; the operator says what is wrong with anything else."""
    return x.ndim > 0 and x.shape[-1] == weight.shape[1]
