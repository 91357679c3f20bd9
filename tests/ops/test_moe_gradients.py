"""Gradients of experts' layers, and what PyTorch's own grouped product does not take."""

import pytest
import torch

from tests.ops.test_moe import EXPERTS, dense, dense_experts, layer, product
from xinqiao.ops import moe

F64 = torch.float64


@pytest.mark.parametrize("ends", [[1, 1, 3, 3, 6, 6], [0, 0, 0, 0, 0, 0]])
def test_grouped_linear(ends):
    (x, weight, offsets, bias, _, _), _ = product(0, "plain", F64, (4, 5), ends)
    inputs = [t.requires_grad_() for t in (x, weight, bias)]
    assert torch.autograd.gradcheck(lambda x, w, b: moe.grouped_linear(x, w, offsets, b), inputs)


def test_experts():
    x, weights, chosen, gate_up, down, *_ = layer(0, 4, dtype=F64, sizes=(5, 3))
    inputs = [t.double().requires_grad_() for t in (x, weights, gate_up, down)]
    assert torch.autograd.gradcheck(lambda x, w, g, d: moe.experts(x, w, chosen, g, d), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_gradients_of_kernels_are_those_of_the_dense_layer(dtype):
    """Each is a sum of products whose factors were rounded to dtype a few times: relative to the largest."""
    x, weights, chosen, gate_up, down, *_ = layer(1, 40, dtype=dtype)
    rough = [t.clone().requires_grad_() for t in (x, weights, gate_up, down)]
    exact = [t.detach().double().requires_grad_() for t in (x, weights, gate_up, down)]
    up = torch.randn_like(x)
    moe.experts(rough[0], rough[1], chosen, *rough[2:]).backward(up)
    dense_experts(exact[0], exact[1], chosen, *exact[2:]).backward(up.double())
    for a, b in zip(rough, exact, strict=True):
        assert a.grad.dtype == a.dtype
        assert (a.grad.double() - b.grad).abs().max() <= 8 * torch.finfo(dtype).eps * b.grad.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_expanded_gradient(dtype):
    """`.sum().backward()` hands back a gradient without strides, at which torch._grouped_mm's backward fails."""
    (x, weight, offsets, _, _, _), _ = product(0, "plain", dtype, (16, 32), [4, 4, 9, 9, 12, 12])
    x.requires_grad_(), weight.requires_grad_()
    moe.grouped_linear(x, weight, offsets).sum().backward()
    assert torch.equal(x.grad[12:], torch.zeros(2, 32, dtype=dtype))
    torch.testing.assert_close(x.grad[:4], weight[0].detach().sum(0).expand(4, -1), rtol=0, atol=16 * 0.01)
    assert weight.grad[1].abs().sum() == 0 and weight.grad[0].abs().sum() > 0


@pytest.mark.parametrize("kind", ["ue8m0", "f32", "mx", "int8"])
def test_quantised_weights_pass_the_gradient_of_x(kind):
    (x, weight, offsets, bias, scale, block), values = product(2, kind, torch.float32, (70, 50), [3, 3, 9, 10, 12, 30])
    x.requires_grad_(), bias.requires_grad_()
    up = torch.randn(len(x), 70)
    moe.grouped_linear(x, weight, offsets, bias, scale=scale, block=tuple(block)).backward(up)
    wide = x.detach().double().requires_grad_()
    dense(wide, values, offsets, bias.detach()).backward(up.double())
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=1e-5, atol=1e-4)
    assert bias.grad.shape == (EXPERTS, 70)


@pytest.mark.parametrize("kind", ["plain", "ue8m0", "int8"])
def test_opcheck(kind):
    (x, weight, offsets, bias, scale, block), _ = product(3, kind, torch.float32, (8, 16), [2, 2, 5, 6, 6, 9])
    learns = kind == "plain"
    given = (x.requires_grad_(), weight.requires_grad_(learns), offsets, bias.requires_grad_(), scale, block)
    # PyTorch's check that nothing is changed compares tensors by a product that it does not have for float8.
    utils = ("test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    checks = utils if kind == "ue8m0" else ("test_schema", *utils)
    torch.library.opcheck(torch.ops.xinqiao.grouped_linear.default, given, test_utils=checks)
    x, weights, chosen, gate_up, down, *rest = layer(4, 5, kind)
    learned = [t.requires_grad_() for t in (x, weights)]
    torch.library.opcheck(
        torch.ops.xinqiao.experts.default, (*learned, chosen, gate_up, down, *rest), test_utils=checks
    )
    torch.library.opcheck(torch.ops.xinqiao.moe_choose.default, (torch.randn(3, 8), None, 2, 2, 1, "sigmoid"))


def test_a_layer_compiles():
    x, _, _, gate_up, down, *_ = layer(6, 12)
    router = torch.randn(EXPERTS, 64)

    def run(x, gate_up, down):
        return moe.experts(x, *moe.route(x @ router.T, top_k=2), gate_up, down)

    given = [t.requires_grad_() for t in (x, gate_up, down)]
    expected = run(*given)
    found = torch.compile(run, fullgraph=True, backend="aot_eager")(*given)
    torch.testing.assert_close(found, expected)
    a, b = (torch.autograd.grad(y.square().sum(), given) for y in (found, expected))
    torch.testing.assert_close(a, b)
