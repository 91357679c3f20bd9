"""Linear layers of experts, and gated experts: the reference against dense float64, kernels against the reference."""

import pytest
import torch
from torch.nn.functional import silu

from xinqiao.native.processor import levels
from xinqiao.ops import backend, moe
from xinqiao.ops.cpu import moe as cpu
from xinqiao.ops.reference import moe as reference

EXPERTS = 6
ENDS = {  # of rows: few of an expert, many, none; one row, none at all, and rows that belong to nobody
    "few and none": [1, 1, 3, 6, 10, 10],
    "many": [9, 30, 30, 43, 100, 107],
    "one": [0, 0, 1, 1, 1, 1],
    "nothing": [0, 0, 0, 0, 0, 0],
    "rows left over": [2, 2, 2, 2, 5, 5],
}
SIZES = [(32, 64), (70, 50), (33, 130), (16, 512), (5, 3)]  # n, k
KINDS = ["plain", "ue8m0", "ue8m0 bytes", "f32", "mx", "int8"]
BLOCKS = {"mx": [1, 32]}


def encoded(values, kind, dtype):
    """Weights and scales of `kind`, and the values that they stand for in float64."""
    if kind == "plain":
        return values.to(dtype), None, values.to(dtype).double()
    if kind == "int8":
        scale = values.abs().amax(-1) / 127
        codes = (values / scale[..., None]).round().to(torch.int8)
        return codes, scale, codes.double() * scale[..., None].double()
    rows, columns = BLOCKS.get(kind, [128, 128])
    experts, n, k = values.shape
    exponents = torch.randint(-4, 4, (experts, -(-n // rows), -(-k // columns)))
    scale = 2.0 ** exponents.float() * (1.37 if kind == "f32" else 1)
    wide = scale.repeat_interleave(rows, 1)[:, :n].repeat_interleave(columns, 2)[:, :, :k]
    codes = (values / wide).to(torch.float8_e4m3fn)
    stored = {"ue8m0": torch.float8_e8m0fnu, "mx": torch.float8_e8m0fnu}.get(kind)
    kept = scale.to(stored) if stored else (exponents + 127).to(torch.uint8) if kind == "ue8m0 bytes" else scale
    return codes, kept, codes.double() * wide.double()


def product(seed, kind, dtype, size, ends):
    torch.manual_seed(seed)
    n, k = size
    weight, scale, values = encoded(torch.randn(EXPERTS, n, k), kind, dtype)
    x, bias = torch.randn(max(ends) + 2, k).to(dtype), torch.randn(EXPERTS, n).to(dtype)
    return (x, weight, torch.tensor(ends), bias, scale, BLOCKS.get(kind, [128, 128])), values


def dense(x, values, offsets, bias):
    """Every row by every expert, of which the mask leaves one: float64."""
    row = torch.arange(len(x))[:, None]
    starts = torch.cat((offsets.new_zeros(1), offsets[:-1]))
    mask = ((row >= starts) & (row < offsets)).double()
    return torch.einsum("me,enk,mk->mn", mask, values, x.double()) + mask @ bias.double()


def bound(x, values, offsets, bias):
    """How far a sum may be off: k + 2 roundings in fp32 of the sum of magnitudes, and one to the dtype of the result.

    e4m3 times a scale that is no power of two is rounded once more. Products below 2^-126 may be lost.
    """
    magnitudes = dense(x.abs(), values.abs(), offsets, bias.abs())
    return (x.shape[1] + 3) * 2**-24 * magnitudes + torch.finfo(x.dtype).eps * magnitudes + 1e-30


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "int8"])
def test_the_reference_of_grouped_linear_is_a_masked_dense_product(kind, ends):
    (x, weight, offsets, bias, scale, block), values = product(0, kind, torch.float64, (70, 50), ends)
    found = reference.grouped_linear(x, weight, offsets, bias, scale, block)
    torch.testing.assert_close(found, dense(x, values, offsets, bias), rtol=1e-12, atol=1e-12)


def test_int8_quantises_rows_and_adds_whole_numbers():
    x = torch.tensor([[127.0, -63.4, 0.5], [0.0, 0.0, 0.0], [2.0, float("nan"), 1.0], [float("inf"), 1.0, 1.0]])
    weight, scale = torch.tensor([[[1, 2, 3], [100, 0, -7]]], dtype=torch.int8), torch.tensor([[0.5, 2.0]])
    found = moe.grouped_linear(x, weight, torch.tensor([4]), scale=scale)
    assert found[:2].tolist() == [[(127 - 126 + 0) * 0.5, 12700 * 2.0], [0.0, 0.0]]  # 0.5: to even; 0 / 0: zeros
    assert found[2:].isnan().all()


@pytest.mark.parametrize("at", levels())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_grouped_linear_at_every_level(kind, dtype, at):
    for seed, (size, ends) in enumerate((size, ends) for size in SIZES for ends in ENDS.values()):
        given, values = product(seed, kind, dtype, size, ends)
        found = cpu.grouped_linear(*given, at=at)
        true = reference.grouped_linear(*given)
        assert found.dtype == dtype
        if kind == "int8":  # the sums are exact, and what is done to them is the same
            assert torch.equal(found, true), (size, ends)
            continue
        x, _, offsets, bias = given[:4]
        assert ((found.double() - true.double()).abs() <= bound(x, values, offsets, bias)).all(), (size, ends)


def layer(seed, tokens, kind="plain", dtype=torch.float32, sizes=(64, 48)):
    torch.manual_seed(seed)
    hidden, inner = sizes
    gate_up, first, _ = encoded(torch.randn(EXPERTS, 2 * inner, hidden) * hidden**-0.5, kind, dtype)
    down, second, _ = encoded(torch.randn(EXPERTS, hidden, inner) * inner**-0.5, kind, dtype)
    chosen = (
        torch.stack([torch.randperm(EXPERTS - 1)[:3] for _ in range(tokens)]) if tokens else torch.empty(0, 3).long()
    )
    if tokens > 1:
        chosen[1] = torch.tensor([2, -1, 2])  # an expert twice, and a place for none
    x, weights = torch.randn(tokens, hidden).to(dtype), torch.rand(tokens, 3)
    return x, weights, chosen, gate_up, down, first, second, BLOCKS.get(kind, [128, 128])


def dense_experts(x, weights, chosen, gate_up, down):
    """Every token by every expert, weighted by zero where it was not chosen: differentiable, any dtype."""
    share = torch.zeros(len(x), EXPERTS + 1, dtype=x.dtype)
    share = share.scatter_add(1, torch.where(chosen < 0, EXPERTS, chosen), weights.to(x.dtype))[:, :EXPERTS]
    gate, up = torch.einsum("eih,th->tei", gate_up, x).chunk(2, -1)
    return torch.einsum("te,ehi,tei->th", share, down, silu(gate) * up)


@pytest.mark.parametrize("tokens", [0, 1, 9])
def test_the_reference_of_experts_is_a_masked_dense_layer(tokens):
    given = layer(0, tokens, dtype=torch.float64)
    torch.testing.assert_close(reference.experts(*given), dense_experts(*given[:5]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("at", levels())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("kind", KINDS)
def test_experts_at_every_level(kind, dtype, at):
    """A hidden value may round to the neighbour of what it is in the reference, and with it each term of a sum.

    Of int8 it may become another whole number: 1 of the 127 of the largest.
    """
    steps = 8 * torch.finfo(dtype).eps + (4 / 127 if kind == "int8" else 0) + 2**-24 * 128
    for seed, (tokens, sizes) in enumerate(
        [(0, (64, 48)), (1, (64, 48)), (7, (50, 33)), (90, (64, 48)), (3, (512, 256))]
    ):
        given = layer(seed, tokens, kind, dtype, sizes)
        found, true = cpu.experts(*given, at=at), reference.experts(*given)
        assert found.shape == true.shape and found.dtype == dtype
        largest = max(true.abs().flatten().tolist(), default=0)
        assert found.isfinite().all()
        assert ((found - true).abs() <= steps * largest).all(), (tokens, sizes)


@pytest.mark.parametrize("used", ["reference", "cpu"])
def test_what_is_not_finite_stays_in_its_token(used):
    x, *rest, first, second, block = layer(3, 20)
    spoilt = x.clone()
    spoilt[4, 7] = float("nan")
    with backend.use(used):
        a, b = (moe.experts(v, *rest, gate_up_scale=first, down_scale=second, block=block) for v in (x, spoilt))
    assert b[4].isnan().all()
    assert torch.equal(a[torch.arange(20) != 4], b[torch.arange(20) != 4])


def test_threads_change_nothing():
    given = layer(5, 64, dtype=torch.bfloat16)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(cpu.experts(*given))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
