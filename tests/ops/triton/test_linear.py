"""The kernels of linear layers, in Triton's interpreter, against the reference in fp64."""

import pytest
import torch

reference = pytest.importorskip("xinqiao.ops.reference.linear")
linear = pytest.importorskip("xinqiao.ops.triton.linear")
pytestmark = [pytest.mark.triton, pytest.mark.filterwarnings("ignore::RuntimeWarning")]  # NumPy's, of overflow

SIZES = {"even": (16, 128, 256), "ragged": (5, 70, 200), "one row": (1, 33, 40), "many rows": (70, 130, 129)}
BLOCKS = [(128, 128), (1, 32)]
# Sums of 256 products in fp32: 256·2^-24 of the sum of their sizes, which is below 150 here. A result in fp16 is
# rounded by at most 2^-11 of its size.
TOLERANCE = {torch.float32: {"rtol": 1e-6, "atol": 2e-2 / 8}, torch.float16: {"rtol": 2**-11, "atol": 2e-2}}


def weights(n, k, block, kind, seed=0):
    g = torch.Generator().manual_seed(seed)
    codes = (torch.randn(n, k, generator=g) * 2).to(torch.float8_e4m3fn)
    size = (-(-n // block[0]), -(-k // block[1]))
    if kind == torch.float32:
        return codes, torch.rand(size, generator=g) + 0.5
    scales = torch.randint(124, 130, size, generator=g).to(torch.uint8)
    return codes, scales if kind == torch.uint8 else scales.view(kind)


@pytest.mark.parametrize("activation", [None, "1x128", "1x32"])
@pytest.mark.parametrize("kind", [torch.float32, torch.uint8, torch.float8_e8m0fnu], ids=str)
@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.parametrize("name", SIZES)
def test_block_fp8(name, block, kind, activation):
    m, n, k = SIZES[name]
    codes, scales = weights(n, k, block, kind)
    g = torch.Generator().manual_seed(1)
    for dtype in (torch.float32, torch.float16):
        x = torch.randn(2, m, k, generator=g)[:, : (m + 1) // 2].to(dtype)
        bias = torch.randn(n, generator=g) if m > 1 else None
        got = linear.linear_block_fp8(x, codes, scales, bias, block, activation)
        want = reference.linear_block_fp8(
            x.double() if activation is None else reference.rounded(x, activation).double(),
            codes,
            scales,
            bias,
            block,
            None,
        )
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), want, **TOLERANCE[dtype])


@pytest.mark.parametrize("kind", [torch.float32, torch.uint8], ids=str)
@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.parametrize("name", SIZES)
def test_gradient_of_block_fp8(name, block, kind):
    m, n, k = SIZES[name]
    codes, scales = weights(n, k, block, kind)
    for dtype in (torch.float32, torch.float16):
        gradient = torch.randn(m, n, generator=torch.Generator().manual_seed(1)).to(dtype)
        got = linear.linear_block_fp8_backward(gradient, codes, scales, block)
        want = reference.linear_block_fp8_backward(gradient.double(), codes, scales, block)
        torch.testing.assert_close(got.double(), want, **TOLERANCE[dtype])


def test_every_code_and_scale():
    """256 e4m3 bytes and 256 e8m0 bytes: where fp32 holds the product, it is exact, NaN included."""
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn)[:, None].expand(256, 32).contiguous()
    scales = torch.arange(256, dtype=torch.uint8)[:, None]
    x = torch.zeros(2, 32)
    x[0, 3] = x[1, 31] = 1
    for shift in range(0, 256, 37):
        rolled = scales.roll(shift, 0)
        got = linear.linear_block_fp8(x, codes, rolled, None, (1, 32), None)
        want = reference.linear_block_fp8(x, codes, rolled, None, (1, 32), None)
        fits = ~reference.block_values(codes, rolled, (1, 32), torch.float32).isinf().any(1)
        assert fits.sum() > 200
        torch.testing.assert_close(got[:, fits], want[:, fits], rtol=0, atol=0, equal_nan=True)


def test_activations_are_rounded_as_the_reference_rounds_them():
    """With the unit matrix for weights, the layer gives its activations."""
    unit = torch.eye(128).to(torch.float8_e4m3fn)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(24, 128, generator=g) * torch.exp(8 * torch.randn(24, 1, generator=g))
    x[0] = 0
    x[1] = 1e-7
    x[2, :3] = torch.tensor([448.0, -464.0, 2.0**-9])
    for activation in ("1x128", "1x32"):
        got = linear.linear_block_fp8(x, unit, torch.ones(1, 1), None, (128, 128), activation)
        assert torch.equal(got, reference.rounded(x, activation))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("name", SIZES)
def test_int8(name, dtype):
    """The sum is one of whole numbers: what is left are three roundings of 2^-24, and fp16's of the result."""
    m, n, k = SIZES[name]
    g = torch.Generator().manual_seed(0)
    codes = torch.randint(-128, 128, (n, k), generator=g).to(torch.int8)
    scale = torch.rand(n, generator=g) + 0.5
    x = torch.randn(m, k, generator=g).to(dtype)
    x[0] = 0
    if m > 2:
        x[2, 1] = torch.inf
    got = linear.linear_int8(x, codes, scale, None)
    want = reference.linear_int8(x, codes, scale, None)
    torch.testing.assert_close(got, want, equal_nan=True, rtol=2**-10 if dtype == torch.float16 else 4 * 2**-24, atol=0)
    gradient = torch.randn(m, n, generator=g).to(dtype)
    got = linear.linear_int8_backward(gradient, codes, scale)
    want = reference.linear_int8_backward(gradient.double(), codes, scale)
    torch.testing.assert_close(got.double(), want, rtol=2**-11, atol=0.05)
