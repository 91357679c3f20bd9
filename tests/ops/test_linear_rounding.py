"""Activations that are rounded to e4m3 on the way, gradients, PyTorch's checks of operators, and errors."""

import re

import numpy as np
import pytest
import torch

from tests.native import numbers
from tests.ops import eight_bits
from xinqiao.errors import InputError
from xinqiao.ops import backend
from xinqiao.ops.linear import linear_block_fp8

WIDTHS = {"1x128": 128, "1x32": 32}
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
# Not test_schema, which compares tensors by a product that PyTorch does not have for 8-bit floats.
CHECKS = ("test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")


def rounded(x, activation):
    """By ml_dtypes."""
    rows = x.float().reshape(-1, x.shape[-1]).numpy()
    return torch.from_numpy(numbers.quantize(rows, "e4m3fn", (1, WIDTHS[activation]), "pow2", "ceil").values).double()


@pytest.mark.parametrize("back", ["reference", "cpu"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", WIDTHS)
@pytest.mark.parametrize("k", [1, 40, 128, 333])
@pytest.mark.parametrize("count", [1, 40])
def test_rounded_activations(count, k, activation, dtype, back):
    w, x = eight_bits.fp8(136, k), eight_bits.tokens((count, k), dtype)
    with backend.use(back):
        found = linear_block_fp8(x, w.codes, w.scale, activation=activation).double()
    small = rounded(x, activation)
    true = small @ w.values.T
    assert ((found - true).abs() <= eight_bits.bound(small, w.values, true, dtype)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", WIDTHS)
def test_which_code_an_activation_becomes_is_the_same_everywhere(activation, dtype):
    """Weights that pick one feature each show the rounded activations, bit for bit; ties and subnormals among them."""
    k = 256
    codes = torch.eye(k).to(torch.float8_e4m3fn)
    every = torch.arange(65536, dtype=torch.int32).view(-1, k) << 16
    near = every + torch.tensor([0, 1, 0x8000, 0x7FFF], dtype=torch.int32).repeat(64)
    x = (every if dtype == torch.bfloat16 else near).view(torch.float32)
    x = x[(x.isfinite() & (x.abs() < 1e30)).all(-1)].to(dtype)
    args = (codes, torch.ones(2, 2))
    with backend.use("reference"):
        true = linear_block_fp8(x, *args, activation=activation)
    found = torch.cat([linear_block_fp8(part, *args, activation=activation) for part in x.split(8)])
    assert torch.equal(found, true)
    assert torch.equal(true.double(), rounded(x, activation))


@pytest.mark.parametrize("block", [(128, 128), (1, 32)])
def test_gradients_in_fp64(block):
    w = eight_bits.fp8(130, 34, block)
    x = eight_bits.tokens((2, 1, 34), torch.float64).requires_grad_()
    bias = torch.randn(130, dtype=torch.float64, requires_grad=True)

    def run(x, bias):
        return linear_block_fp8(x, w.codes, w.scale, bias, block=block)

    assert torch.autograd.gradcheck(run, (x, bias))
    assert torch.autograd.gradgradcheck(run, (x, bias))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", eight_bits.SCALES)
@pytest.mark.parametrize("block", [(128, 128), (1, 32)])
def test_gradients_of_the_kernels(block, kind, dtype):
    w = eight_bits.fp8(136, 200, block, kind)
    x = eight_bits.tokens((2, 5, 200), dtype).requires_grad_()
    bias = torch.zeros(136, dtype=dtype, requires_grad=True)
    gradient = eight_bits.tokens((2, 5, 136), dtype, 1)
    linear_block_fp8(x, w.codes, w.scale, bias, block=block).backward(gradient)
    true = gradient.double() @ w.values
    assert ((x.grad.double() - true).abs() <= eight_bits.bound(gradient, w.values.T, true, dtype)).all()
    assert torch.allclose(bias.grad.double(), gradient.double().sum((0, 1)), rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_the_gradient_passes_through_rounding():
    w = eight_bits.fp8(16, 64)
    plain, rounding = (eight_bits.tokens((3, 64), torch.float32).requires_grad_() for _ in range(2))
    linear_block_fp8(plain, w.codes, w.scale).sum().backward()
    linear_block_fp8(rounding, w.codes, w.scale, activation="1x32").sum().backward()
    assert torch.equal(plain.grad, rounding.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("block", [[128, 128], [1, 32]])
def test_pytorch_accepts_the_operators(block, dtype):
    w = eight_bits.fp8(136, 70, tuple(block), "bytes")
    x = eight_bits.tokens((2, 3, 70), dtype).requires_grad_()
    bias = torch.zeros(136, requires_grad=True)
    for arguments in ((x, w.codes, w.scale, bias, block, None), (x, w.codes, w.scale, None, block, "1x32")):
        torch.library.opcheck(torch.ops.xinqiao.linear_block_fp8.default, arguments, test_utils=CHECKS)
    gradient = eight_bits.tokens((2, 3, 136), dtype).requires_grad_()
    arguments = (gradient, w.codes, w.scale, block)
    torch.library.opcheck(torch.ops.xinqiao.linear_block_fp8_backward.default, arguments, test_utils=CHECKS)


def test_compiled_and_exported():
    w, x = eight_bits.fp8(136, 70), eight_bits.tokens((4, 70), torch.bfloat16)

    class Layer(torch.nn.Module):
        def forward(self, x):
            return linear_block_fp8(x, w.codes, w.scale)

    true = Layer()(x)
    assert torch.equal(torch.compile(Layer(), fullgraph=True, backend="aot_eager")(x), true)
    assert torch.equal(torch.export.export(Layer(), (x,)).module()(x), true)


X, W, S = (torch.zeros(2, 200), torch.zeros(136, 200).to(torch.float8_e4m3fn), torch.ones(2, 2))
WRONG = {
    "linear_block_fp8: weight has shape [136, 200], expected [n, k] with n = 136 (of weight), k = 100 (of x)": (
        (X[:, :100], W, S),
        {},
    ),
    "linear_block_fp8: weight is float32, expected float8_e4m3fn": ((X, W.float(), S), {}),
    "linear_block_fp8: x is int64, expected float32, bfloat16, float16, float64": ((X.long(), W, S), {}),
    "linear_block_fp8: x has shape [], expected [..., k]": ((X[0, 0], W, S), {}),
    "linear_block_fp8: scale has shape [2, 1], expected [2, 2]": ((X, W, S[:, :1]), {}),
    "linear_block_fp8: scale has shape [2, 2], expected [136, 7]": ((X, W, S), {"block": (1, 32)}),
    "linear_block_fp8: scale is float16, expected float32, float8_e8m0fnu, uint8": ((X, W, S.half()), {}),
    "linear_block_fp8: bias has shape [5], expected [n] with n = 136 (of weight)": ((X, W, S, torch.ones(5)), {}),
    "linear_block_fp8: bias is bfloat16, expected float32": ((X, W, S, torch.ones(136).bfloat16()), {}),
    "linear_block_fp8: block is (64, 64), expected (128, 128) or (1, 32)": ((X, W, S), {"block": (64, 64)}),
    "linear_block_fp8: activation is '1x64', expected None, '1x128' or '1x32'": ((X, W, S), {"activation": "1x64"}),
    "linear_block_fp8: weight is on meta, expected cpu, where x is": ((X, W.to("meta"), S), {}),
}


@pytest.mark.parametrize(("message", "call"), WRONG.items(), ids=WRONG)
def test_errors(message, call):
    arguments, options = call
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        linear_block_fp8(*arguments, **options)


def test_infinity_and_nan_among_rounded_activations():
    w = eight_bits.fp8(16, 64)
    x = eight_bits.tokens((3, 64), torch.float32)
    clean = linear_block_fp8(x, w.codes, w.scale, activation="1x32")
    x[1, 0], x[2, 0] = np.inf, np.nan
    found = linear_block_fp8(x, w.codes, w.scale, activation="1x32")
    assert torch.equal(found[0], clean[0])
    assert not found[1:].isfinite().any()
