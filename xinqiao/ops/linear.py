"""Linear layers of 8-bit weights: block-scaled FP8, and INT8 with a scale for each output.

Sums are fp32 (fp64 for fp64 activations) and rounded once, to the activations' dtype; on the processor, bfloat16 for
more than 32 tokens is rounded before the bias is added, and again after. NaN and infinity in a token reach
all of that token's outputs, as IEEE arithmetic has it, and no other token's.
"""

from typing import Any

import torch
from torch import Tensor

from xinqiao.errors import InputError
from xinqiao.ops.backend import kernel
from xinqiao.ops.reference.linear import ACTIVATIONS
from xinqiao.ops.register import operator
from xinqiao.ops.shapes import Sizes

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
SCALES = (torch.float32, torch.float8_e8m0fnu, torch.uint8)
BLOCKS = ((128, 128), (1, 32))


def linear_block_fp8(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    block: tuple[int, int] = (128, 128),
    activation: str | None = None,
) -> Tensor:
    """x · (codes · scales)ᵀ + bias, [..., n] in x's dtype. There are gradients for x and bias.

    x           [..., k]: float32, bfloat16, float16 or float64
    weight      [n, k], float8_e4m3fn; n and k need not be multiples of the block
    scale       [ceil(n / rows), ceil(k / columns)] of blocks, what codes are multiplied by: float32, float8_e8m0fnu, or
                UE8M0 bytes as uint8, where b is 2^(b - 127) and 255 is NaN
    bias        [n], of x's dtype or float32
    block       (128, 128), or (1, 32) as OCP MXFP8 has it
    activation  None: x as it is. '1x128', '1x32': x rounded to e4m3 with a power of two for each 128 or 32 features,
                chosen so that nothing saturates (rule 'ceil'); the gradient passes through unchanged
    """
    found: Tensor = _BLOCK_FP8(x, weight, scale, bias, list(block), activation)
    return found


def linear_int8(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """x · (codes · scale)ᵀ + bias with x rounded to int8, [..., n] in x's dtype. There are gradients for x and bias.

    x       [..., k]; each token becomes whole numbers from -127 to 127 times max|x| / 127 (ties to even; the gradient
            passes through unchanged)
    weight  [n, k], int8; the sum of the products of whole numbers is exact
    scale   [n], float32
    bias    [n], of x's dtype or float32
    """
    found: Tensor = _INT8(x, weight, scale, bias)
    return found


def _check_block(sizes: Sizes, weight: Tensor, scale: Tensor, block: list[int]) -> None:
    if tuple(block) not in BLOCKS:
        raise InputError(f"{sizes.operator}: block is {tuple(block)}, expected (128, 128) or (1, 32)")
    sizes.check("weight", weight, "n k", (torch.float8_e4m3fn,))
    sizes.check("scale", scale, "rows columns", SCALES)
    expected = [-(-size // edge) for size, edge in zip(weight.shape, block, strict=True)]
    if [*scale.shape] != expected:
        raise InputError(f"{sizes.operator}: scale has shape {[*scale.shape]}, expected {expected}")


def _check_bias(sizes: Sizes, bias: Tensor | None, x: Tensor) -> None:
    if bias is not None:
        sizes.check("bias", bias, "n", tuple(dict.fromkeys((x.dtype, torch.float32))))


def _check_fp8(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, block: list[int], activation: str | None
) -> None:
    sizes = Sizes("linear_block_fp8")
    sizes.check("x", x, "... k", FLOATS)
    _check_block(sizes, weight, scale, block)
    _check_bias(sizes, bias, x)
    if activation not in (None, *ACTIVATIONS):
        raise InputError(f"linear_block_fp8: activation is {activation!r}, expected None, '1x128' or '1x32'")


def _check_int8(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
    sizes = Sizes("linear_int8")
    sizes.check("x", x, "... k", FLOATS)
    sizes.check("weight", weight, "n k", (torch.int8,))
    sizes.check("scale", scale, "n", (torch.float32,))
    _check_bias(sizes, bias, x)


def _fp8(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, block: list[int], activation: str | None
) -> Tensor:
    _check_fp8(x, weight, scale, bias, block, activation)
    run = kernel("linear", "linear_block_fp8", x.device, x.dtype)
    found: Tensor = run(x, weight, scale, bias, (block[0], block[1]), activation)
    return found


def _fp8_shapes(
    x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, block: list[int], activation: str | None
) -> Tensor:
    _check_fp8(x, weight, scale, bias, block, activation)
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def _fp8_backward(gradient: Tensor, weight: Tensor, scale: Tensor, block: list[int]) -> Tensor:
    run = kernel("linear", "linear_block_fp8_backward", gradient.device, gradient.dtype)
    found: Tensor = run(gradient, weight, scale, (block[0], block[1]))
    return found


def _int8(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    _check_int8(x, weight, scale, bias)
    found: Tensor = kernel("linear", "linear_int8", x.device, x.dtype)(x, weight, scale, bias)
    return found


def _int8_shapes(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    _check_int8(x, weight, scale, bias)
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def _int8_backward(gradient: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    run = kernel("linear", "linear_int8_backward", gradient.device, gradient.dtype)
    found: Tensor = run(gradient, weight, scale)
    return found


def _backward_shapes(gradient: Tensor, weight: Tensor, scale: Tensor, block: list[int] | None = None) -> Tensor:
    return gradient.new_empty(*gradient.shape[:-1], weight.shape[1])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, weight, scale, bias, *options = inputs
    ctx.save_for_backward(weight, scale)
    ctx.bias = None if bias is None else bias.dtype
    ctx.block = options[:1]


def _bias_gradient(ctx: Any, gradient: Tensor) -> Tensor | None:
    tokens = list(range(gradient.ndim - 1))
    if not ctx.needs_input_grad[3]:
        return None
    return gradient.sum(tokens, dtype=ctx.bias) if tokens else gradient.to(ctx.bias)


def _fp8_gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    weight, scale = ctx.saved_tensors
    found = _BLOCK_FP8_BACKWARD(gradient, weight, scale, *ctx.block) if ctx.needs_input_grad[0] else None
    return found, None, None, _bias_gradient(ctx, gradient), None, None


def _int8_gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    weight, scale = ctx.saved_tensors
    found = _INT8_BACKWARD(gradient, weight, scale) if ctx.needs_input_grad[0] else None
    return found, None, None, _bias_gradient(ctx, gradient)


def _keep_weights(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:3])
    ctx.block = inputs[3]


def _fp8_second(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return _BLOCK_FP8(gradient, *ctx.saved_tensors, None, ctx.block, None), None, None, None


_BLOCK_FP8 = operator(
    "linear_block_fp8(Tensor x, Tensor weight, Tensor scale, Tensor? bias, int[] block, str? activation) -> Tensor",
    _fp8,
    _fp8_shapes,
    keep=_keep,
    backward=_fp8_gradients,
)
_BLOCK_FP8_BACKWARD = operator(
    "linear_block_fp8_backward(Tensor gradient, Tensor weight, Tensor scale, int[] block) -> Tensor",
    _fp8_backward,
    _backward_shapes,
    keep=_keep_weights,
    backward=_fp8_second,
)
_INT8 = operator(
    "linear_int8(Tensor x, Tensor weight, Tensor scale, Tensor? bias) -> Tensor",
    _int8,
    _int8_shapes,
    keep=_keep,
    backward=_int8_gradients,
)
_INT8_BACKWARD = operator(
    "linear_int8_backward(Tensor gradient, Tensor weight, Tensor scale) -> Tensor", _int8_backward, _backward_shapes
)
