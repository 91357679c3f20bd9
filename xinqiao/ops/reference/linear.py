"""What linear layers of 8-bit weights compute, in plain PyTorch: in fp64 for fp64 activations, else in fp32."""

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from xinqiao.formats.blocks import dequantize, quantize, spread

Block = tuple[int, int]
ACTIVATIONS = {"1x128": 128, "1x32": 32}  # features that share a scale


def linear_block_fp8(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, block: Block, activation: str | None
) -> Tensor:
    wide = _wide(x)
    values = x.to(wide) if activation is None else rounded(x, activation).to(wide)
    found = linear(values, block_values(weight, scale, block, wide))
    return (found if bias is None else found + bias.to(wide)).to(x.dtype)


def linear_block_fp8_backward(gradient: Tensor, weight: Tensor, scale: Tensor, block: Block) -> Tensor:
    wide = _wide(gradient)
    return (gradient.to(wide) @ block_values(weight, scale, block, wide)).to(gradient.dtype)


def linear_int8(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    wide = _wide(x)
    codes, step = tokens_int8(x.to(wide))
    sums = linear(codes.double(), weight.double())  # whole numbers below 2^53: exact
    found = sums.to(wide) * (step * scale.to(wide))
    return (found if bias is None else found + bias.to(wide)).to(x.dtype)


def linear_int8_backward(gradient: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    wide = _wide(gradient)
    return (gradient.to(wide) @ (weight.to(wide) * scale.to(wide)[:, None])).to(gradient.dtype)


def block_values(weight: Tensor, scale: Tensor, block: Block, wide: torch.dtype) -> Tensor:
    """The weights, [n, k]: codes times scales. uint8 scales are UE8M0 bytes."""
    scales = scale.view(torch.float8_e8m0fnu) if scale.dtype == torch.uint8 else scale
    return weight.to(wide) * spread(scales.to(wide), (weight.shape[0], weight.shape[1]), block)


def rounded(x: Tensor, activation: str) -> Tensor:
    """fp32: `x` as e4m3 codes times a power of two for every 128 or 32 features, chosen by the rule 'ceil'."""
    block = (1, ACTIVATIONS[activation])
    with x.device:
        rows = x.float().reshape(x.shape[:-1].numel(), x.shape[-1])
        codes, scales = quantize(rows, "e4m3fn", block, "pow2", "ceil")
        return dequantize(codes, scales, "e4m3fn", block).view(x.shape)


def tokens_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes from -127 to 127 and the step of each token, as x's dtype; NaN in a token with infinities or NaN."""
    largest = pad(x.abs(), (0, 1)).amax(-1, keepdim=True)  # a token without features has one that is 0
    step = largest / 127
    step = torch.where(step == 0, 1, step)
    codes = (x / step).round().clamp(-127, 127)
    return torch.where(largest.isfinite(), codes, torch.nan), step


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
