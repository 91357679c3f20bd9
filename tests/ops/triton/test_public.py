"""Public operators on the back end 'triton' against 'reference': the same arguments, results and gradients."""

import pytest
import torch

from xinqiao.ops import backend

pytest.importorskip("triton")
pytestmark = [pytest.mark.triton, pytest.mark.filterwarnings("ignore::RuntimeWarning")]  # NumPy's, of lanes left out


def floats(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def nsa():
    from xinqiao.ops.nsa import Branch, nsa_attention
    from xinqiao.ops.rules import Choosing

    rule = Choosing(length=8, stride=4, block=16, blocks=3, initial=1, local=1)
    tensors = [floats(1, 40, 4, 16)]
    for i, rows in enumerate((rule.keys(40), 40, 40)):
        tensors += [floats(1, rows, 2, 16, seed=2 * i + 1), floats(1, rows, 2, 8, seed=2 * i + 2)]

    def run(q, ck, cv, k, v, wk, wv):
        branches = (Branch(ck, cv), Branch(k, v), Branch(wk, wv))
        return nsa_attention(q, *branches, torch.full((1, 40, 4, 3), 0.4), rule=rule, tokens=10)

    return run, tensors


def fp8():
    from xinqiao.ops.linear import linear_block_fp8

    weight, scale = floats(70, 130).to(torch.float8_e4m3fn), floats(1, 2).abs()
    return lambda x, bias: linear_block_fp8(x, weight, scale, bias, activation="1x32"), [floats(2, 3, 130), floats(70)]


def int8():
    from xinqiao.ops.linear import linear_int8

    weight = (floats(70, 130) * 30).to(torch.int8)
    return lambda x: linear_int8(x, weight, floats(70).abs()), [floats(5, 130)]


def grouped():
    from xinqiao.ops.moe import grouped_linear

    ends = torch.tensor([3, 3, 9])
    return lambda x, weight: grouped_linear(x, weight, ends), [floats(10, 24), floats(3, 20, 24)]


def experts():
    from xinqiao.ops.moe import experts, route

    def run(x, logits, gate_up, down):
        weights, chosen = route(logits, torch.zeros(8), top_k=2, groups=4, kept_groups=2)
        return experts(x, weights, chosen, gate_up, down)

    return run, [floats(9, 24), floats(9, 8), floats(8, 32, 24), floats(8, 24, 16)]


def dsa():
    module = pytest.importorskip("xinqiao.ops.dsa")
    index = module.dsa_quantize(floats(1, 3, 4, 32)), module.dsa_quantize(floats(1, 40, 32))

    def run(q, latent):
        (a, a_scale), (b, b_scale) = index
        chosen = module.dsa_index(a, b, floats(1, 3, 4), a_scale, b_scale, top_k=8, start=37)
        return module.dsa_attention(q, latent, chosen, d_v=16)

    return run, [floats(1, 3, 4, 24), floats(1, 40, 24)]


@pytest.mark.parametrize("operator", [nsa, fp8, int8, grouped, experts, dsa], ids=lambda f: f.__name__)
def test_results_and_gradients_are_the_reference_s(operator):
    """fp32: sums of up to 130 products of numbers near 1."""
    run, tensors = operator()
    found = {}
    for name in ("reference", "triton"):
        inputs = [t.clone().requires_grad_() for t in tensors]
        with backend.use(name):
            out = run(*inputs)
            out.backward(floats(*out.shape, seed=9))
        found[name] = [out.detach(), *(t.grad for t in inputs)]
    for mine, theirs in zip(found["triton"], found["reference"], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=2e-4)
