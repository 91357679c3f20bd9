"""INT8 linear layers: exact sums on every level, rounding of activations, gradients, errors."""

import re

import numpy as np
import pytest
import torch

from tests.native import numbers
from tests.ops import eight_bits
from xinqiao.errors import InputError
from xinqiao.native import processor
from xinqiao.ops import backend
from xinqiao.ops.cpu import linear as cpu
from xinqiao.ops.linear import linear_int8

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SHAPES = [(1, 1), (3, 5), (16, 64), (130, 257), (48, 576), (257, 1000)]


def kernel(level, x, w, bias=None):
    held = cpu.Int8Weights(w.codes.data_ptr(), w.scale.data_ptr(), *w.codes.shape)
    return cpu.few(cpu.library(level).xq_linear_int8, held, x, bias, x.dtype)


def rounded(x):
    """Whole numbers and the step of every token, by NumPy."""
    rows = x.float().numpy()
    found = numbers.quantize(rows, "int8", (1, 0), "f32", "")
    return numbers.unpacked(found.codes, "int8", *rows.shape).view(np.int8).astype(np.int64), found.scales[:, 0]


def expected(x, w):
    """fp32: the integer sum, rounded once, times both scales' product."""
    codes, steps = rounded(x)
    sums = (codes @ w.codes.numpy().astype(np.int64).T).astype(np.float32)
    return torch.from_numpy(sums * (steps[:, None] * w.scale.numpy()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_the_reference_is_exact(n, k, dtype):
    w, x = eight_bits.int8(n, k), eight_bits.tokens((3, k), dtype)
    with backend.use("reference"):
        assert torch.equal(linear_int8(x, w.codes, w.scale), expected(x, w).to(dtype))


@pytest.mark.parametrize("level", processor.levels())
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_every_level_computes_the_same_bits(n, k, level):
    w = eight_bits.int8(n, k)
    for dtype in DTYPES[:2]:
        for count in (1, 2, 3, 8, 9, 17, 65):
            x = eight_bits.tokens((count, k), dtype, count)
            assert torch.equal(kernel(level, x, w), expected(x, w).to(dtype)), (dtype, count)


@pytest.mark.parametrize("level", processor.levels())
def test_sums_that_do_not_fit_in_32_bits(level):
    k = 140_000
    w = eight_bits.int8(3, k)
    w.codes[:] = torch.tensor([-128, 127, 126], dtype=torch.int8)[:, None]
    w.codes[2, ::2] = 125
    x = torch.full((2, k), 3.0)
    x[1, 1::3] = -3.0
    assert torch.equal(kernel(level, x, w), expected(x, w))


@pytest.mark.parametrize("level", processor.levels())
@pytest.mark.parametrize(
    "token",
    [
        [0.0, 0.0, 0.0],
        [1e-45, 0.0, -1e-45],  # largest / 127 is 0: the step is 1
        [1.4e-43, -2e-44, 7e-45],  # a subnormal step
        [127.0, 0.5, -1.5],  # ties go to even
        [3e38, -3e38, 1.0],
    ],
)
def test_steps(token, level):
    w, x = eight_bits.int8(5, 3), torch.tensor([token])
    with np.errstate(divide="ignore", invalid="ignore"):
        codes, step = rounded(x)
    if step[0] == 0:
        codes, step = np.zeros_like(codes), np.ones_like(step)
    sums = (codes @ w.codes.numpy().astype(np.int64).T).astype(np.float32)
    true = torch.from_numpy(sums * (step[:, None] * w.scale.numpy()))
    with backend.use("reference"):
        assert torch.equal(linear_int8(x, w.codes, w.scale), true)
    assert torch.equal(kernel(level, x, w), true)


@pytest.mark.parametrize("back", ["reference", "cpu"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_token_that_is_not_finite_is_nan(value, back):
    w, x = eight_bits.int8(40, 200), eight_bits.tokens((3, 200), torch.float32)
    true = expected(x, w)
    x[1, 7] = value
    with backend.use(back):
        found = linear_int8(x, w.codes, w.scale)
    assert found[1].isnan().all()
    assert torch.equal(found[::2], true[::2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (2, 5), (130,), (0,)])
def test_any_number_of_tokens_and_a_bias(shape, dtype):
    w, x = eight_bits.int8(136, 200), eight_bits.tokens((*shape, 200), dtype)
    bias = eight_bits.tokens((136,), dtype, 1)
    found = linear_int8(x, w.codes, w.scale, bias)
    true = expected(x.reshape(-1, 200), w) + bias.float()
    assert torch.equal(found, true.to(dtype).view(*shape, 136))


@pytest.mark.parametrize("dtype", [torch.float64, *DTYPES])
def test_gradients(dtype):
    w = eight_bits.int8(136, 200)
    x = eight_bits.tokens((2, 5, 200), dtype).requires_grad_()
    bias = torch.zeros(136, dtype=dtype, requires_grad=True)
    gradient = eight_bits.tokens((2, 5, 136), dtype, 1)
    linear_int8(x, w.codes, w.scale, bias).backward(gradient)
    true = gradient.double() @ w.values
    assert ((x.grad.double() - true).abs() <= eight_bits.bound(gradient, w.values.T, true, dtype)).all()
    assert torch.allclose(bias.grad.double(), gradient.double().sum((0, 1)), rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_pytorch_accepts_the_operators():
    w, x = eight_bits.int8(136, 70), eight_bits.tokens((2, 3, 70), torch.float32).requires_grad_()
    torch.library.opcheck(torch.ops.xinqiao.linear_int8.default, (x, w.codes, w.scale, None))
    torch.library.opcheck(torch.ops.xinqiao.linear_int8_backward.default, (torch.ones(2, 136), w.codes, w.scale))


X, W, S = torch.zeros(2, 200), torch.zeros(136, 200, dtype=torch.int8), torch.ones(136)
WRONG = {
    "linear_int8: weight has shape [136, 200], expected [n, k] with n = 136 (of weight), k = 100 (of x)": (
        X[:, :100],
        W,
        S,
    ),
    "linear_int8: weight is float32, expected int8": (X, W.float(), S),
    "linear_int8: scale has shape [136, 1], expected [n] with n = 136 (of weight)": (X, W, S[:, None]),
    "linear_int8: scale is bfloat16, expected float32": (X, W, S.bfloat16()),
    "linear_int8: bias has shape [5], expected [n] with n = 136 (of weight)": (X, W, S, torch.ones(5)),
}


@pytest.mark.parametrize(("message", "arguments"), WRONG.items(), ids=WRONG)
def test_errors(message, arguments):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        linear_int8(*arguments)
