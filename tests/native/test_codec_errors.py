"""How far stored values are from true ones: every count, and sums as NumPy's doubles have them."""

import numpy as np
import pytest
import torch

from tests.native import numbers
from tests.native.test_codec import awkward, encode, every_bf16, sample
from xinqiao.native import codec
from xinqiao.native.codec import Errors, Matrix

COUNTS = ("count", "different", "saturated", "underflowed", "nonfinite")
SUMS = ("signal", "noise", "largest")
CASES = [
    ("e4m3fn", (128, 128), "pow2", "ceil"),
    ("e4m3fn", (128, 128), "pow2", "floor"),
    ("e4m3fn", (1, 32), "pow2", "nearest"),
    ("e4m3fn", (128, 128), "f32", ""),
    ("e2m1", (1, 32), "pow2", "ceil"),
    ("int8", (1, 0), "f32", ""),
    ("int8", (128, 128), "bf16", ""),
    ("hif8", (1, 0), "f32", ""),
    ("bf16", (0, 0), None, ""),
    ("f16", (0, 0), None, ""),
    ("e4m3fnuz", (0, 0), None, ""),
]
VALUES = {
    "weights": lambda: np.random.default_rng(0).standard_normal((130, 1031)).astype(np.float32) * np.float32(0.02),
    "many magnitudes": lambda: sample(130, 1031),
    "every bf16": every_bf16,
    "awkward": awkward,
    "zeros": lambda: np.zeros((3, 300), np.float32),
    "one infinity": lambda: np.where(np.arange(900).reshape(3, 300) == 77, np.inf, 1).astype(np.float32),
}


def measured(x, y, limit):
    finite = np.isfinite(x)
    a, off = np.where(finite, x, 0).astype(np.float64), np.where(finite, x - y, 0).astype(np.float64)
    return {
        "count": x.size,
        "different": int(((x != y) & ~(np.isnan(x) & np.isnan(y))).sum()),
        "saturated": int((finite & (np.abs(x) > limit)).sum()),
        "underflowed": int((finite & (x != 0) & (y == 0)).sum()),
        "nonfinite": int((~finite).sum()),
        "signal": (a**2).sum(),
        "noise": (off**2).sum(),
        "largest": np.abs(off).max(),
    }


@pytest.fixture(params=codec.levels())
def at(request):
    return request.param


@pytest.fixture(autouse=True)
def _ieee():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize(("element", "block", "kind", "rule"), CASES)
def test_errors_are_those_of_the_codes_that_were_stored(element, block, kind, rule, values, at):
    x = VALUES[values]()
    codes, scales, errors = encode(x, element, block, kind, rule, at=at)
    wide = numbers.spread(scales, x.shape, block) if kind else np.float32(1)
    stored = numbers.decode(numbers.unpacked(codes, element, *x.shape), element) * wide
    largest = np.float32(numbers.LARGEST.get(element, 3.3895313892515355e38))
    true = measured(x, stored, largest * wide)
    assert [getattr(errors, name) for name in COUNTS] == [true[name] for name in COUNTS]
    assert [getattr(errors, name) for name in SUMS] == pytest.approx([true[name] for name in SUMS], rel=1e-5)

    again = Errors()
    target = Matrix(element, codes, scales.tobytes() if kind else None, block)
    codec.compare(Matrix("f32", x.tobytes()), target, *x.shape, again, at=at)
    assert bytes(again) == bytes(errors)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [  # different, saturated, underflowed, nonfinite, largest
        ([1, 2, 3], [1, 2, 3], (0, 0, 0, 0, 0)),
        ([1, 2, 3], [1, 2, 3.5], (1, 0, 0, 0, 0.5)),
        ([1, 2, 3], [1, 0, 0], (2, 0, 2, 0, 3)),
        ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], (0, 0, 0, 3, 0)),
        ([np.nan, np.inf, -np.inf], [0, 448, -448], (3, 0, 0, 3, 0)),
        ([0.0, -0.0], [-0.0, 0.0], (0, 0, 0, 0, 0)),
        ([1e-45, 0], [0, 0], (1, 0, 1, 0, 1e-45)),
        ([0, 1], [1, 1], (1, 0, 0, 0, 1)),
        ([1.0], [np.nan], (1, 0, 0, 0, 0)),
    ],
)
def test_what_counts(a, b, expected):
    errors = Errors()
    x, y = (np.array(v, np.float32).tobytes() for v in (a, b))
    codec.compare(Matrix("f32", x), Matrix("f32", y), 1, len(a), errors)
    found = (errors.different, errors.saturated, errors.underflowed, errors.nonfinite, errors.largest)
    assert found == pytest.approx(expected)


def test_errors_add_up():
    x = sample(64, 256)
    once, twice = Errors(), Errors()
    target = Matrix("e4m3fn", bytes(64 * 256))
    codec.compare(Matrix("f32", x.tobytes()), target, 64, 256, once)
    for _ in range(2):
        codec.compare(Matrix("f32", x.tobytes()), target, 64, 256, twice)
    for name in (*COUNTS, "signal", "noise"):
        assert getattr(twice, name) == 2 * getattr(once, name), name
    assert twice.largest == once.largest


def test_subnormals_survive_where_the_thread_flushes_them(at):
    x = np.array([[2.0**-130, -(2.0**-149), 2.0**-127, 1.0]], np.float32)
    tiny, found, errors = np.float32(2.0**-149), bytearray(16), Errors()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    try:
        codec.convert(Matrix("f32", x.tobytes()), Matrix("f32", found), 1, 4, None, "", errors, at=at)
        flushes = tiny * np.float32(1) == 0
    finally:
        torch.set_flush_denormal(False)
    assert bytes(found) == x.tobytes()
    assert errors.different == 0
    assert flushes  # still
