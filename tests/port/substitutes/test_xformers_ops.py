"""xformers.ops against softmax(q k / sqrt(d) + bias) v written out."""

import pytest
import torch
import torch.nn.functional as F

from xinqiao.port.substitutes import xformers_ops as xops


def naive(q, k, v, bias, scale=None):
    """Layout (batch, tokens, heads, dim); bias (queries, keys) or more dimensions in front."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * scale + bias
    return torch.einsum("bhqk,bkhd->bqhd", torch.softmax(scores, -1), v)


def tensors(queries=5, keys=7):
    torch.manual_seed(0)
    return [torch.randn(2, n, 3, 8, dtype=torch.float64) for n in (queries, keys, keys)]


def masked(queries, keys, sees):
    rows = [[0.0 if sees(i, j) else -torch.inf for j in range(keys)] for i in range(queries)]
    return torch.tensor(rows, dtype=torch.float64)


TENSOR = torch.randn(2, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
CASES = {
    "nothing": (None, 0.0),
    "a tensor": (TENSOR, TENSOR),
    "a tensor for all heads": (TENSOR[:, :1], TENSOR[:, :1]),
    "triangle": (xops.LowerTriangularMask(), masked(5, 7, lambda i, j: j <= i)),
    "triangle from the bottom": (
        xops.LowerTriangularFromBottomRightMask(),
        masked(5, 7, lambda i, j: j <= i + 2),
    ),
    "triangle and tensor": (xops.LowerTriangularMask().add_bias(TENSOR), masked(5, 7, lambda i, j: j <= i) + TENSOR),
}


@pytest.mark.parametrize(("bias", "written"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("scale", [None, 0.2])
def test_attention_with_a_bias(bias, written, scale):
    q, k, v = tensors()
    got = xops.memory_efficient_attention(q, k, v, attn_bias=bias, scale=scale)
    torch.testing.assert_close(got, naive(q, k, v, written, scale), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["triangle", "triangle from the bottom", "triangle and tensor"])
def test_a_mask_can_be_seen(name):
    bias, written = CASES[name]
    shape = (2, 3, 5, 7)
    assert torch.equal(bias.materialize(shape, torch.float64), written.expand(shape))


def test_three_and_five_dimensions():
    q, k, v = (t[:, :, 0] for t in tensors())
    four = naive(q[:, :, None], k[:, :, None], v[:, :, None], TENSOR[:, :1])[:, :, 0]
    got = xops.memory_efficient_attention(q, k, v, attn_bias=TENSOR[:, 0])
    torch.testing.assert_close(got, four, rtol=0, atol=1e-12)
    q, k, v = tensors()
    groups = [t.reshape(2, -1, 1, 3, 8) for t in (q, k, v)]
    got = xops.memory_efficient_attention(*groups, attn_bias=TENSOR[:, None])
    torch.testing.assert_close(got, naive(q, k, v, TENSOR)[:, :, None], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_low_precision(dtype, tolerance):
    q, k, v = (t.to(dtype) for t in tensors())
    got = xops.memory_efficient_attention(q, k, v, xops.LowerTriangularMask(), op=("a", "kernel"))
    assert got.dtype == dtype
    expected = naive(q.double(), k.double(), v.double(), CASES["triangle"][1])
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("packed", [True, False])
def test_swiglu(packed):
    module = xops.SwiGLU(4, 6, bias=True, _pack_weights=packed).double()
    names = {"w12.weight", "w12.bias"} if packed else {"w1.weight", "w1.bias", "w2.weight", "w2.bias"}
    assert set(module.state_dict()) == names | {"w3.weight", "w3.bias"}
    w1, w2 = module.w12.weight.split(6) if packed else (module.w1.weight, module.w2.weight)
    b1, b2 = module.w12.bias.split(6) if packed else (module.w1.bias, module.w2.bias)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    gate = x @ w1.T + b1
    expected = (gate / (1 + torch.exp(-gate)) * (x @ w2.T + b2)) @ module.w3.weight.T + module.w3.bias
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        xops.swiglu(x, w1, b1, w2, b2, module.w3.weight, module.w3.bias), F.linear(F.silu(gate) * (x @ w2.T + b2),
        module.w3.weight, module.w3.bias), rtol=0, atol=1e-12,
    )  # fmt: skip
