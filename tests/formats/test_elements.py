"""Every code and ten million floats against ml_dtypes, en_dtypes and PyTorch; where these differ from here, how."""

import en_dtypes
import ml_dtypes
import numpy as np
import pytest
import torch

from tests.formats.numbers_of_all_kinds import adversarial_floats, all_bfloat16, random_floats
from xinqiao.formats.elements import ELEMENTS, Element, decode, encode

NUMPY = {
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "e4m3fn": ml_dtypes.float8_e4m3fn,
    "e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "e5m2": ml_dtypes.float8_e5m2,
    "e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "e8m0": ml_dtypes.float8_e8m0fnu,
    "e2m1": ml_dtypes.float4_e2m1fn,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "hif8": en_dtypes.hifloat8,
    "int4": ml_dtypes.int4,
    "int8": np.int8,
}
TORCH = {
    "e4m3fn": torch.float8_e4m3fn,
    "e4m3fnuz": torch.float8_e4m3fnuz,
    "e5m2": torch.float8_e5m2,
    "e5m2fnuz": torch.float8_e5m2fnuz,
    "e8m0": torch.float8_e8m0fnu,
    "bf16": torch.bfloat16,
}
ROUNDED = [name for name in NUMPY if name not in ("e8m0", "int4", "int8")]


def stored(element):
    return np.uint16 if ELEMENTS[element].bits == 16 else np.uint8


def same(a, b):
    return bool(((a.view(torch.int32) == b.view(torch.int32)) | (a.isnan() & b.isnan())).all())


@pytest.mark.parametrize("element", NUMPY)
def test_every_code(element):
    codes = np.arange(1 << ELEMENTS[element].bits).astype(stored(element))
    meant = torch.from_numpy(codes.view(NUMPY[element]).astype(np.float32))
    assert same(decode(torch.from_numpy(codes.astype(np.int64)), element), meant)


def in_range(element, values):
    """Without what libraries treat each in its own way: beyond the largest value, NaN, the sign of a lone zero."""
    row = ELEMENTS[element]
    inside = values.abs() <= row.largest
    return values[inside & (row.minus_zero | (values != 0))]


def as_numpy(element, values):
    return torch.from_numpy(values.numpy().astype(NUMPY[element]).view(stored(element)).astype(np.int64))


@pytest.mark.parametrize("element", ROUNDED)
def test_adversarial_floats(element):
    values = in_range(element, torch.cat((adversarial_floats(element), all_bfloat16(), random_floats(100_000))))
    assert torch.equal(encode(values, element), as_numpy(element, values))


@pytest.mark.slow
@pytest.mark.parametrize("element", ROUNDED)
def test_ten_million_floats(element):
    for seed in range(10):
        values = in_range(element, random_floats(1_000_000, seed))
        assert torch.equal(encode(values, element), as_numpy(element, values))


@pytest.mark.parametrize("element", TORCH)
def test_pytorch_casts_the_same(element):
    values = in_range(element, torch.cat((adversarial_floats(element), all_bfloat16(), random_floats(100_000))))
    bits = torch.int16 if element == "bf16" else torch.uint8
    meant = values.to(TORCH[element]).view(bits).to(torch.int64) & ((1 << ELEMENTS[element].bits) - 1)
    assert torch.equal(encode(values, element), meant)


@pytest.mark.parametrize("element", [name for name in ELEMENTS if name not in ("f32", "e8m0")])
def test_codes_come_back(element):
    """Encoding a code's value gives that code: -0 where there is one, NaN with its sign where it has one."""
    row = ELEMENTS[element]
    codes = torch.arange(1 << row.bits)
    values = decode(codes, element)
    finite = values.isfinite() & (values.abs() <= row.largest)
    assert torch.equal(encode(values[finite], element), codes[finite])


@pytest.mark.parametrize("element", [name for name, row in ELEMENTS.items() if not row.cut and name != "e8m0"])
def test_beyond_the_largest_is_the_largest(element):
    """From half a step above it to infinity, with the sign."""
    values = torch.cat((adversarial_floats(element), random_floats(100_000), torch.tensor([torch.inf, -torch.inf])))
    beyond = values[values.abs() > ELEMENTS[element].largest]
    assert len(beyond) > 20
    assert torch.equal(decode(encode(beyond, element), element), beyond.sign() * ELEMENTS[element].largest)


def test_bfloat16_overflows_as_ieee_says():
    values = torch.cat((adversarial_floats("bf16"), all_bfloat16(), random_floats(100_000)))
    values = values[~values.isnan()]
    assert torch.equal(encode(values, "bf16"), as_numpy("bf16", values))


def test_tf32_is_fp32_rounded_at_its_thirteenth_bit():
    values = torch.cat((adversarial_floats("tf32"), all_bfloat16(), random_floats(1_000_000)))
    values = values[~values.isnan()]
    bits = values.view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    assert torch.equal(encode(values, "tf32"), (bits + 0xFFF + (bits >> 13 & 1)) >> 13)


@pytest.mark.parametrize("element", ["int8", "int4"])
def test_whole_numbers_are_rounded_and_clipped(element):
    values = torch.cat((torch.arange(-300, 300) / 2, random_floats(100_000)))
    values = values[~values.isnan()]
    top = ELEMENTS[element].largest
    assert np.array_equal(decode(encode(values, element), element).numpy(), np.clip(np.rint(values.numpy()), -top, top))


def test_fp32_is_itself():
    bits = torch.randint(0, 1 << 32, (1_000_000,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(encode(decode(bits, "f32"), "f32"), bits)


NEW = [
    ("float8_e3m4", {"exponent": 3, "mantissa": 4, "bias": 3, "infinity": 0x70, "nan": 0x78}),
    ("float8_e4m3", {"exponent": 4, "mantissa": 3, "bias": 7, "infinity": 0x78, "nan": 0x7C}),
    ("float8_e4m3b11fnuz", {"exponent": 4, "mantissa": 3, "bias": 11, "nan": 0x80, "minus_zero": False}),
]


@pytest.mark.parametrize(("name", "row"), NEW)
def test_a_new_format_is_a_row(name, row, monkeypatch):
    monkeypatch.setitem(ELEMENTS, name, Element(name=name, bits=8, words="", source="", **row))
    monkeypatch.setitem(NUMPY, name, getattr(ml_dtypes, name))
    test_every_code(name)
    test_adversarial_floats(name)


CAST = {**TORCH, "f16": torch.float16, "int8": torch.int8}
DIFFERENCES = [  # value, element, this package, PyTorch's cast, that of ml_dtypes, en_dtypes or NumPy; as values
    (500.0, "e4m3fn", 448.0, 448.0, torch.nan),
    (torch.inf, "e4m3fn", 448.0, 448.0, torch.nan),
    (70000.0, "e5m2", 57344.0, torch.inf, torch.inf),
    (torch.inf, "e5m2", 57344.0, torch.inf, torch.inf),
    (300.0, "e4m3fnuz", 240.0, torch.nan, torch.nan),
    (70000.0, "e5m2fnuz", 57344.0, torch.nan, torch.nan),
    (70000.0, "f16", 65504.0, torch.inf, torch.inf),
    (65536.0, "hif8", 32768.0, None, torch.inf),
    (0.0, "e8m0", 2.0**-127, 2.0**-127, torch.nan),
    (-3.0, "e8m0", 4.0, 4.0, torch.nan),
    (torch.nan, "e2m1", 0.0, None, -0.0),
    (torch.nan, "e3m2", 0.0, None, -0.0),
    (torch.nan, "e2m3", 0.0, None, -0.0),
    (1.5, "int8", 2.0, 1.0, 1.0),
    (200.0, "int8", 127.0, -56.0, -56.0),
    (9.0, "int4", 7.0, None, -7.0),
]


@pytest.mark.parametrize(("value", "element", "here", "in_torch", "in_numpy"), DIFFERENCES)
def test_where_libraries_differ(value, element, here, in_torch, in_numpy):
    """Stated in docs/formats.md; if one of them changes, so must that page."""
    values = torch.tensor([value])
    assert same(decode(encode(values, element), element), torch.tensor([here]))
    if in_torch is not None:
        assert same(values.to(CAST[element]).float(), torch.tensor([in_torch]))
    if in_numpy is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            assert same(
                torch.from_numpy(values.numpy().astype(NUMPY[element]).astype(np.float32)), torch.tensor([in_numpy])
            )


NANS = [  # fp32 bits, element, code
    (0x7FC00000, "f32", 0x7FC00000),
    (0xFFC12345, "f32", 0xFFC12345),
    (0x7FC00000, "bf16", 0x7FC0),
    (0xFF812345, "bf16", 0xFFC1),  # what fits of its bits, made quiet
    (0x7F800001, "bf16", 0x7FC0),  # not infinity
    (0xFF800001, "tf32", 0x7FE00),
    (0xFFC12345, "f16", 0xFE00),
    (0x7F812345, "e4m3fn", 0x7F),
    (0xFF812345, "e4m3fn", 0xFF),
    (0xFF812345, "e5m2", 0xFF),
    (0xFF812345, "e4m3fnuz", 0x80),
    (0x7F812345, "e5m2fnuz", 0x80),
    (0x7F812345, "hif8", 0x80),
    (0xFF812345, "e8m0", 0xFF),
    (0xFF812345, "e2m1", 0),
    (0xFF812345, "e3m2", 0),
    (0xFF812345, "e2m3", 0),
    (0x7F812345, "int8", 0),
    (0x7F812345, "int4", 0),
]


@pytest.mark.parametrize(("bits", "element", "code"), NANS)
def test_nan(bits, element, code):
    assert encode(torch.tensor([bits]).to(torch.int32).view(torch.float32), element).item() == code


LARGEST = [
    ("f32", 3.4028234663852886e38, 2.0**-149),
    ("bf16", 3.3895313892515355e38, 2.0**-133),
    ("tf32", 3.4011621342146535e38, 2.0**-136),
    ("f16", 65504.0, 2.0**-24),
    ("e4m3fn", 448.0, 2.0**-9),
    ("e4m3fnuz", 240.0, 2.0**-10),
    ("e5m2", 57344.0, 2.0**-16),
    ("e5m2fnuz", 57344.0, 2.0**-17),
    ("e8m0", 2.0**127, 2.0**-127),
    ("e2m1", 6.0, 0.5),
    ("e3m2", 28.0, 0.0625),
    ("e2m3", 7.5, 0.125),
    ("int8", 127.0, 1.0),
    ("int4", 7.0, 1.0),
    ("hif8", 32768.0, 2.0**-22),
]


@pytest.mark.parametrize(("element", "largest", "smallest"), LARGEST)
def test_range(element, largest, smallest):
    assert (ELEMENTS[element].largest, ELEMENTS[element].smallest) == (largest, smallest)


@pytest.mark.parametrize("element", ELEMENTS)
def test_every_format_is_stated_in_words(element):
    row = ELEMENTS[element]
    assert row.words and row.source
    assert row.bits == row.exponent + row.mantissa + row.signed or element in ("int8", "int4", "hif8")
