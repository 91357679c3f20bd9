"""The rules for scales against their definitions in exact arithmetic, PyTorch's own cast, and torchao."""

import pytest
import torch

from tests.formats.numbers_of_all_kinds import random_floats
from xinqiao.formats.blocks import dequantize, quantize
from xinqiao.formats.elements import ELEMENTS, decode
from xinqiao.formats.scales import LEAST, power_of_two

FLOATS = [name for name, row in ELEMENTS.items() if row.kind == "float" and row.bits <= 8]
LOWEST, HIGHEST = -127, 127  # exponents that a scale byte has


def magnitudes(element):
    """fp32 of every exponent: mantissas at random, and where a rule changes its mind with their neighbours."""
    row = ELEMENTS[element]
    half = 1 << (22 - row.mantissa)  # of the last place that the element keeps
    edges = [torch.tensor(row.largest).view(torch.int32).item() & 0x7FFFFF, 1 << 22, 1 << 23, (1 << 23) - half]
    nearest = torch.tensor(1.5 * row.largest).view(torch.int32).item() & 0x7FFFFF
    mantissas = torch.tensor([e + d for e in (*edges, nearest) for d in (-2, -1, 0, 1, 2)]) % (1 << 23)
    mantissas = torch.cat((mantissas, torch.randint(0, 1 << 23, (500,), generator=torch.Generator().manual_seed(0))))
    bits = (torch.arange(255)[:, None] << 23 | mantissas).flatten().to(torch.int32)
    return bits.view(torch.float32)


def exponents(element, rule):
    """(magnitudes in float64, log2 of the scales that the rule gives them)."""
    amax = magnitudes(element)
    return amax.double(), power_of_two(amax, element, rule) - 127


def floor_log2(values):
    return torch.frexp(values).exponent - 1


@pytest.mark.parametrize("element", FLOATS)
def test_ceil_is_the_smallest_that_fits(element):
    amax, exponent = exponents(element, "ceil")
    amax = amax.clamp_min(torch.tensor(LEAST).double())
    reached = torch.exp2(exponent.double()) * ELEMENTS[element].largest
    assert bool((reached >= amax).all())
    assert bool((reached / 2 < amax).all())


@pytest.mark.parametrize("element", FLOATS)
def test_floor_is_the_exponent(element):
    amax, exponent = exponents(element, "floor")
    wanted = floor_log2(amax) - floor_log2(torch.tensor(ELEMENTS[element].largest))
    normal = amax >= 2.0**-126
    assert torch.equal(exponent[normal], wanted[normal].clamp(LOWEST, HIGHEST).to(torch.int64))


@pytest.mark.parametrize("element", FLOATS)
def test_even_rounds_first(element):
    amax, exponent = exponents(element, "even")
    places = 2.0 ** ELEMENTS[element].mantissa
    last = torch.exp2(floor_log2(amax).double()) / places
    rounded = torch.floor(amax / last + 0.5) * last
    wanted = floor_log2(rounded) - floor_log2(torch.tensor(ELEMENTS[element].largest))
    normal = amax >= 2.0**-126
    assert torch.equal(exponent[normal], wanted[normal].clamp(LOWEST, HIGHEST).to(torch.int64))


@pytest.mark.parametrize("element", FLOATS)
def test_nearest_is_pytorchs_cast(element):
    amax, exponent = exponents(element, "nearest")
    cast = (amax.float() / ELEMENTS[element].largest).to(torch.float8_e8m0fnu).view(torch.uint8)
    assert torch.equal(exponent, cast.to(torch.int64).clamp(max=254) - 127)


def test_a_rule_that_is_none():
    with pytest.raises(ValueError, match="'round'"):
        power_of_two(torch.ones(1), "e4m3fn", "round")


def blocks_of_all_sizes():
    values = random_floats(1 << 16)
    return torch.where(values.isfinite(), values, 1.0).view(128, 512)


@pytest.mark.parametrize("element", FLOATS)
@pytest.mark.parametrize("rule", ["ceil", "floor", "even"])
def test_scaling_by_powers_of_two_is_exact(element, rule):
    """Where nothing saturates or underflows, codes with their scale say what codes without one say of scaled values."""
    values = blocks_of_all_sizes()
    codes, scales = quantize(values, element, (1, 32), "pow2", rule)
    whole = (decode(codes, element).double().view(128, 16, 32) * scales.double()[:, :, None]).view(128, 512)
    assert torch.equal(dequantize(codes, scales, element, (1, 32)), whole.float())


def test_blocks_of_one_scale_are_the_same_in_smaller_blocks():
    """UE8M0 128x128 to MXFP8: scale bytes repeat, codes stay; choosing scales anew by ceil changes no value either."""
    values = torch.randn(256, 256, generator=torch.Generator().manual_seed(0)) * 0.02
    codes, scales = quantize(values, "e4m3fn", (128, 128), "pow2")
    meant = dequantize(codes, scales, "e4m3fn", (128, 128))
    small = scales.repeat_interleave(128, 0).repeat_interleave(4, 1)
    assert torch.equal(dequantize(codes, small, "e4m3fn", (1, 32)), meant)
    again = quantize(meant, "e4m3fn", (1, 32), "pow2")
    assert torch.equal(dequantize(again.codes, again.scales, "e4m3fn", (1, 32)), meant)
    floor = quantize(meant, "e4m3fn", (1, 32), "pow2", "floor")
    assert not torch.equal(dequantize(floor.codes, floor.scales, "e4m3fn", (1, 32)), meant)


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("element", ["e4m3fn", "e5m2", "e2m1"])
@pytest.mark.parametrize(("rule", "mode"), [("ceil", "RCEIL"), ("floor", "FLOOR"), ("even", "EVEN")])
def test_torchao_agrees(element, rule, mode):
    """Scales of one block for each magnitude, and codes.

    RCEIL knows no least magnitude, and rounds a quotient just above a power of two down to it: the block then
    saturates, by one part in four million. Under a scale byte of 0, 2^-127, torchao divides by 2^-126.
    """
    mx = pytest.importorskip("torchao.prototype.mx_formats.mx_tensor", reason="torchao is not installed")
    dtype = {"e4m3fn": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "e2m1": torch.float4_e2m1fn_x2}[element]
    amax = magnitudes(element)
    if rule == "ceil":
        amax = amax[amax >= LEAST]
    values = torch.rand(len(amax), 32, generator=torch.Generator().manual_seed(0)) * amax[:, None]
    values[:, 0] = amax
    scales, codes = mx.to_mx(values, dtype, 32, mx.ScaleCalculationMode[mode])
    theirs = scales.view(torch.uint8).to(torch.int64).flatten()
    ours = power_of_two(amax, element, rule)
    same = ours == theirs
    if rule == "ceil":
        fits = ELEMENTS[element].largest * torch.exp2(theirs.double() - 127)
        over = amax.double() / fits - 1
        assert bool(((over > 0) & (over < 2**-22))[~same].all())
    else:
        assert bool(same.all())
    if element != "e2m1":
        found = quantize(values, element, (1, 32), "pow2", rule).codes
        kept = same & (theirs > 0)
        assert torch.equal(found[kept], codes.view(torch.uint8).to(torch.int64).view_as(found)[kept])
