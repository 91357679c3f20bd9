"""Every code and ten million floats against ml_dtypes, en_dtypes and PyTorch; where these differ from here, how."""

import en_dtypes
import ml_dtypes
import numpy as np
import pytest
import torch

from tests.formats.numbers_of_all_kinds import adversarial_floats, all_bfloat16, random_floats
from xinqiao.formats.elements import ELEMENTS, decode, encode

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
}
TORCH = {
    "e4m3fn": torch.float8_e4m3fn,
    "e4m3fnuz": torch.float8_e4m3fnuz,
    "e5m2": torch.float8_e5m2,
    "e5m2fnuz": torch.float8_e5m2fnuz,
    "e8m0": torch.float8_e8m0fnu,
    "bf16": torch.bfloat16,
}
ROUNDED = [name for name in NUMPY if name not in ("e8m0", "int4")]


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


E4M3 = ELEMENTS["e4m3fn"]
DIFFERENCES = [  # value, element, this package, PyTorch's cast, ml_dtypes's or en_dtypes's; as values
    (500.0, "e4m3fn", 448.0, 448.0, torch.nan),
    (torch.inf, "e4m3fn", 448.0, 448.0, torch.nan),
    (torch.inf, "e5m2", 57344.0, torch.inf, torch.inf),
    (70000.0, "e5m2", 57344.0, torch.inf, torch.inf),
    (300.0, "e4m3fnuz", 240.0, None, torch.nan),
    (70000.0, "f16", 65504.0, torch.inf, torch.inf),
    (0.0, "e8m0", 2.0**-127, 2.0**-127, torch.nan),
    (-3.0, "e8m0", 4.0, 4.0, torch.nan),
    (65536.0, "hif8", 32768.0, None, torch.inf),
    (-0.0, "hif8", 0.0, None, 0.0),
    (torch.nan, "e2m1", 0.0, None, None),
]


@pytest.mark.parametrize(("value", "element", "here", "in_torch", "in_numpy"), DIFFERENCES)
def test_where_libraries_differ(value, element, here, in_torch, in_numpy):
    """Stated in docs/formats.md; if one of them changes, so must that page."""
    values = torch.tensor([value])
    assert same(decode(encode(values, element), element), torch.tensor([here]))
    if in_torch is not None:
        cast = values.half() if element == "f16" else values.to(TORCH[element])
        assert same(cast.float(), torch.tensor([in_torch]))
    if in_numpy is not None:
        with np.errstate(over="ignore"):
            assert same(
                torch.from_numpy(values.numpy().astype(NUMPY[element]).astype(np.float32)), torch.tensor([in_numpy])
            )


LARGEST = [
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
