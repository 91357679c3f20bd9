"""The kernels of mixtures of experts, in Triton's interpreter, against the reference."""

import pytest
import torch

reference = pytest.importorskip("xinqiao.ops.reference.moe")
moe = pytest.importorskip("xinqiao.ops.triton.moe")
pytestmark = [pytest.mark.triton, pytest.mark.filterwarnings("ignore::RuntimeWarning")]  # NumPy's, of overflow

ROUTERS = {  # experts, top_k, groups, kept groups
    "all in one group": (12, 3, 1, 1),
    "four groups of 5": (20, 4, 4, 2),
    "groups of one": (6, 2, 6, 3),
    "64 experts": (64, 6, 8, 4),
    "all of them": (5, 5, 1, 1),
}
LOGITS = {
    "random": lambda x: x,
    "ties": lambda x: x.round(),
    "all equal": torch.zeros_like,
    "both zeros": lambda x: torch.where(x > 0, 0.0, -0.0),
    "saturated": lambda x: x * 1000,
    "NaN": lambda x: x.masked_fill(x > 2, torch.nan),
    "infinite": lambda x: x.masked_fill(x > 1.5, torch.inf).masked_fill(x < -1.5, -torch.inf),
}


@pytest.mark.parametrize("scoring", ["sigmoid", "softmax"])
@pytest.mark.parametrize("biased", [False, True], ids=["", "biased"])
@pytest.mark.parametrize("logits", LOGITS)
@pytest.mark.parametrize("router", ROUTERS)
def test_choices_are_the_reference_s_to_the_bit(router, logits, biased, scoring):
    experts, *rest = ROUTERS[router]
    g = torch.Generator().manual_seed(0)
    x = LOGITS[logits](torch.randn(12, experts, generator=g))
    bias = torch.randn(experts, generator=g).round() / 8 if biased else None
    assert torch.equal(moe.choose(x, bias, *rest, scoring), reference.choose(x, bias, *rest, scoring))


ENDS = {"even": [8, 16, 24], "empty ones": [0, 20, 20], "fewer than rows": [3, 3, 19], "none": [0, 0, 0]}


def weights(kind, experts, n, k, g):
    """Weights, scale and the block of it."""
    values = torch.randn(experts, n, k, generator=g)
    if kind == "float32":
        return values, None, [128, 128]
    if kind == "int8":
        return (values * 40).clamp(-127, 127).to(torch.int8), torch.rand(experts, n, generator=g) + 0.5, [128, 128]
    block = [int(edge) for edge in kind.split()[1].split("x")]
    size = (experts, -(-n // block[0]), -(-k // block[1]))
    return values.to(torch.float8_e4m3fn), torch.randint(124, 130, size, generator=g).to(torch.uint8), block


@pytest.mark.parametrize("kind", ["float32", "fp8 128x128", "fp8 1x32", "fp8 5x24", "int8"])
@pytest.mark.parametrize("ends", ENDS)
def test_grouped_linear(ends, kind):
    """fp32: sums of 40 products, within 1e-5 of their size."""
    g = torch.Generator().manual_seed(0)
    n, k = 70, 40
    x, offsets = torch.randn(24, k, generator=g), torch.tensor(ENDS[ends])
    weight, scale, block = weights(kind, 3, n, k, g)
    bias = torch.randn(3, n, generator=g)
    got = moe.grouped_linear(x, weight, offsets, bias, scale, block)
    wide = x if kind == "int8" else x.double()  # which rounds x as it finds it
    want = reference.grouped_linear(wide, weight, offsets, bias.to(wide.dtype), scale, block)
    torch.testing.assert_close(got.double(), want.double(), rtol=1e-5, atol=1e-3)
    grad = torch.randn(24, n, generator=g)
    needed = [True, kind == "float32", kind == "float32"]
    mine = moe.grouped_linear_backward(grad, x, weight, offsets, scale, block, needed)
    of = weight.double() if kind == "float32" else weight
    theirs = reference.grouped_linear_backward(grad.double(), x.double(), of, offsets, scale, block, needed)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=5e-3)


def test_experts():
    g = torch.Generator().manual_seed(0)
    x, weights = torch.randn(9, 24, generator=g), torch.rand(9, 2, generator=g)
    chosen = torch.randint(-1, 4, (9, 2), generator=g)
    gate_up, down = torch.randn(4, 32, 24, generator=g), torch.randn(4, 24, 16, generator=g)
    got = moe.experts(x, weights, chosen, gate_up, down, None, None, [128, 128])
    wide = [t.double() for t in (x, weights)]
    want = reference.experts(*wide, chosen, gate_up.double(), down.double(), None, None, [128, 128])
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-3)
