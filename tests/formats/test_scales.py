"""Scales: which one a block gets, how it is stored, and what is lost."""

import pytest
import torch

from tests.formats.numbers_of_all_kinds import random_floats
from xinqiao.formats.blocks import LAYOUTS, dequantize, quantize
from xinqiao.formats.elements import decode
from xinqiao.formats.scales import RULES, factor, load, pack_int32, power_of_two, store, unpack_int32

CHOICES = [  # largest magnitude, element, rule, scale
    (448.0, "e4m3fn", "ceil", 1.0),
    (448.1, "e4m3fn", "ceil", 2.0),
    (224.0, "e4m3fn", "ceil", 0.5),
    (224.1, "e4m3fn", "ceil", 1.0),
    (0.0, "e4m3fn", "ceil", 2.0**-22),  # as if it were 1e-4
    (256.0, "e4m3fn", "floor", 1.0),
    (448.1, "e4m3fn", "floor", 1.0),
    (511.9, "e4m3fn", "floor", 1.0),
    (512.0, "e4m3fn", "floor", 2.0),
    (495.9, "e4m3fn", "even", 1.0),
    (496.0, "e4m3fn", "even", 2.0),
    (671.0, "e4m3fn", "nearest", 1.0),
    (672.0, "e4m3fn", "nearest", 2.0),
    (6.0, "e2m1", "ceil", 1.0),
    (6.1, "e2m1", "ceil", 2.0),
    (7.9, "e2m1", "floor", 1.0),
    (57344.0, "e5m2", "ceil", 1.0),
    (3.0e38, "e4m3fn", "ceil", 2.0**120),
    (1e-30, "e4m3fn", "floor", 2.0**-108),
    (0.0, "e4m3fn", "floor", 2.0**-127),
]


@pytest.mark.parametrize(("amax", "element", "rule", "scale"), CHOICES)
def test_choice(amax, element, rule, scale):
    assert decode(power_of_two(torch.tensor([amax]), element, rule), "e8m0").item() == scale


def deepgemm(values):
    """The published recipe, in plain PyTorch: amax / 448, up to a power of two, divide, cast."""
    n, k = values.shape
    blocks = values.view(n // 128, 128, k // 128, 128)
    scale = blocks.abs().amax((1, 3)).clamp_min(1e-4) / 448
    scale = torch.exp2(torch.ceil(torch.log2(scale)))
    return (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn).view(n, k), scale


def test_the_published_recipe():
    values = torch.randn(512, 384) * torch.randn(512, 1).exp() * 0.02
    found = quantize(values, "e4m3fn", (128, 128), "pow2")
    codes, scales = deepgemm(values)
    assert torch.equal(found.codes.to(torch.uint8), codes.view(torch.uint8))
    assert torch.equal(found.scales, scales)


@pytest.mark.parametrize("block", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (130, 257)])
def test_ragged_blocks(block, shape):
    """Nothing saturates under ceil, and the error is at most half a step of the block's largest."""
    values = torch.randn(shape)
    found = quantize(values, "e4m3fn", block, "pow2")
    again = dequantize(found.codes, found.scales, "e4m3fn", block)
    assert (again - values).abs().max() <= values.abs().max() / 16
    height, width = block[0] or shape[0], block[1] or shape[1]
    assert found.scales.shape == (-(-shape[0] // height), -(-shape[1] // width))


def sqnr(a, b):
    return (10 * torch.log10(a.square().sum() / (a - b).square().sum())).item()


def test_scales_changed_without_the_original_weights():
    """Rounded twice: 3.1 dB less than powers of two from the original."""
    values = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0))
    first = quantize(values, "e4m3fn", (128, 128), "f32")
    known = dequantize(first.codes, first.scales, "e4m3fn", (128, 128))
    for source, decibels in ((values, 31.5), (known, 28.4)):
        found = quantize(source, "e4m3fn", (128, 128), "pow2")
        again = dequantize(found.codes, found.scales, "e4m3fn", (128, 128))
        assert sqnr(values, again) == pytest.approx(decibels, abs=0.2)


def test_rounding_scales_but_keeping_codes_is_what_it_is():
    """The field's commonest bug: 5 to 10 dB."""
    values = torch.randn(512, 512, generator=torch.Generator().manual_seed(0)) * 0.02
    found = quantize(values, "e4m3fn", (128, 128), "f32")
    rounded = torch.exp2(torch.ceil(torch.log2(found.scales)))
    assert 5 < sqnr(values, dequantize(found.codes, rounded, "e4m3fn", (128, 128))) < 12


def test_stored_scales_come_back_or_are_refused():
    powers = torch.exp2(torch.arange(-127, 128).float())
    for encoding in ("f32", "bf16", "e8m0"):
        assert torch.equal(load(store(powers, encoding), encoding), powers)
    for encoding, wrong in (("e8m0", 1.5), ("e8m0", 0.0), ("e8m0", -1.0), ("bf16", 1.001)):
        with pytest.raises(ValueError, match="not all"):
            store(torch.tensor([1.0, wrong]), encoding)


@pytest.mark.parametrize("way", [store, load])
def test_an_encoding_that_is_none_is_refused(way):
    """Packed words are no numbers: a cast would make scales of them without a word."""
    with pytest.raises(ValueError, match="int32"):
        way(torch.ones(2), "int32")


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (5, 7), (128, 56)])
def test_packed_int32(shape):
    codes = torch.randint(0, 256, shape, dtype=torch.uint8)
    packed = pack_int32(codes)
    assert packed.shape == (shape[0], -(-shape[1] // 4))
    assert packed.stride(0) == 1
    assert packed.shape[1] == 1 or packed.stride(1) % 4 == 0
    for row, column in ((0, 0), (shape[0] - 1, shape[1] - 1)):
        assert (packed[row, column // 4].item() >> 8 * (column % 4)) & 255 == codes[row, column]
    assert torch.equal(unpack_int32(packed, shape[1]), codes)


FACTORS = [
    (1.32287561893 * torch.exp2(torch.tensor([-12.0, -9.0, -12.0])), 1.3228756189346313),
    (torch.exp2(torch.tensor([3.0, -100.0])), 1.0),
    (torch.tensor([1.5, 1.25]), None),
    (torch.tensor([1.5, 0.0]), None),
    (torch.tensor([1.5, -1.5]), None),
    (torch.tensor([torch.inf, torch.inf]), None),
    (torch.tensor([torch.nan, 1.0]), None),
    (torch.tensor([1.0, torch.inf]), None),
    (torch.tensor([2.0**-127, 2.0**127]), 1.0),
    (torch.tensor([2.0**-128, 1.0]), None),  # no byte for it
    (torch.tensor([3 * 2.0**-128, 1.5]), 1.5),  # a subnormal
    (torch.tensor([]), 1.0),
]


@pytest.mark.parametrize(("scales", "meant"), FACTORS)
def test_common_mantissa(scales, meant):
    found = factor(scales)
    assert (found and found[0]) == meant
    if found:
        assert torch.equal(decode(found[1], "e8m0") * found[0], scales)


@pytest.mark.parametrize("rule", RULES)
def test_only_ceil_never_saturates(rule):
    values = random_floats(1 << 16).view(256, 256).nan_to_num(0, 1, 1).clamp(-1e30, 1e30)
    scales = quantize(values, "e4m3fn", (1, 32), "pow2", rule).scales
    saturated = values.view(256, 8, 32).abs().amax(2) > 448 * scales
    assert bool(saturated.any()) == (rule != "ceil")
