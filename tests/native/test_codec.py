"""Matrices between number formats: codes and scales to the bit, on every shape and every level of this processor."""

import ctypes
import mmap

import numpy as np
import pytest

from tests.native import numbers
from xinqiao.native import codec
from xinqiao.native.codec import Errors, Matrix

LEVELS = codec.levels()
SCALABLE = ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e2m1", "e3m2", "e2m3", "hif8")
BLOCKS = [(1, 0), (1, 128), (128, 128), (1, 32), (3, 5), (1, 7)]
TARGETS = [
    *((element, "pow2", rule) for element in SCALABLE for rule in codec.RULES),
    *((element, kind, "") for element in (*SCALABLE, *numbers.INTEGERS) for kind in ("f32", "bf16")),
]
SHAPES = [(1, 1), (5, 3), (127, 130), (129, 1000), (3, 4099)]


@pytest.fixture(params=LEVELS)
def at(request):
    return request.param


@pytest.fixture(autouse=True)
def _ieee():
    with np.errstate(all="ignore"):
        yield


def sample(rows, columns, seed=0):
    """Of many magnitudes, some zero, with blocks that are all zero or tiny."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, columns)) * np.exp2(random.integers(-12, 5, (rows, columns)))
    x[random.random((rows, columns)) < 0.05] = 0
    x[: rows // 3] *= 2.0 ** random.integers(-120, 100)
    x[rows // 2 :, : columns // 2] *= 2.0 ** random.integers(-30, 10)
    x[rows // 2 : rows // 2 + 2, : columns // 3] = 0
    return x.astype(np.float32)


def every_bf16():
    """All 65,536, NaN and infinities too, as fp32."""
    return (np.arange(65536, dtype=np.uint32).reshape(256, 256) << 16).view(np.float32)


def awkward():
    """fp32 around everything that rounds: ties and their neighbours, at every exponent, of both signs."""
    top = np.arange(0, 1 << 16, dtype=np.uint32) << 15  # down to one bit below bf16's
    near = np.stack([top, top + 1, np.maximum(top, 1) - 1])
    return np.concatenate([near, near | 0x80000000]).view(np.float32).reshape(-1, 512)


def encode(x, element, block=(0, 0), kind=None, rule="", *, source="f32", at=None):
    """Codes, scales, errors."""
    rows, columns = x.shape
    codes = bytearray(b"\xa5" * (rows * codec.row_bytes(element, columns)))
    scales = np.full(numbers.grid(x.shape, block), np.nan, np.float32)
    target = Matrix(element, codes, scales.data.cast("B") if kind else None, block)
    errors = Errors()
    given = Matrix(source, numbers.encode(x, source).tobytes())
    codec.convert(given, target, rows, columns, kind, rule, errors, at=at)
    return bytes(codes), scales, errors


def same(a, b):
    """Bits, but for which NaN it is."""
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(
        np.signbit(a)[~np.isnan(a)], np.signbit(b)[~np.isnan(b)]
    )


@pytest.mark.parametrize("element", numbers.ELEMENTS)
def test_every_code_has_the_value_that_other_packages_give_it(element, at):
    count = 65536 if element in ("f16", "bf16", "f32") else 16 if element in numbers.PACKED else 256
    codes = np.arange(count, dtype=np.uint32).reshape(1, -1) << (16 if element == "f32" else 0)
    if element in ("e3m2", "e2m3"):
        codes = codes[:, :64]
    width = np.dtype(numbers.FLOATS.get(element, np.uint8)).itemsize
    codes = codes.astype(f"u{width}")
    found = bytearray(4 * codes.size)
    source = Matrix(element, numbers.packed(codes, element))
    codec.convert(source, Matrix("f32", found), 1, codes.size, None, "", None, at=at)
    assert same(np.frombuffer(found, np.float32), numbers.decode(codes, element)[0])


@pytest.mark.parametrize("element", numbers.ELEMENTS)
@pytest.mark.parametrize("values", [every_bf16, awkward])
def test_every_value_becomes_the_code_that_other_packages_give_it(element, values, at):
    x = values()
    codes, _, _ = encode(x, element, at=at)
    found, true = (
        numbers.unpacked(c, element, *x.shape) for c in (codes, numbers.packed(numbers.encode(x, element), element))
    )
    nan = np.isnan(x)
    assert np.array_equal(found[~nan], true[~nan])
    assert same(numbers.decode(found, element)[nan], numbers.decode(true, element)[nan])


def test_doubles_are_rounded_once(at):
    x = np.random.default_rng(0).standard_normal((3, 1001))
    found = bytearray(4 * x.size)
    codec.convert(Matrix("f64", x.tobytes()), Matrix("f32", found), *x.shape, None, "", None, at=at)
    assert bytes(found) == x.astype(np.float32).tobytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("element", "kind", "rule"), TARGETS)
def test_codes_and_scales_of_blocks(element, kind, rule, block, shape):
    x = sample(*shape)
    true = numbers.quantize(x, element, block, kind, rule)
    codes, scales, _ = encode(x, element, block, kind, rule)
    assert scales.tobytes() == true.scales.tobytes()
    assert codes == true.codes


@pytest.mark.parametrize("rule", codec.RULES)
@pytest.mark.parametrize("block", [(128, 128), (1, 32), (1, 0), (5, 9)])
@pytest.mark.parametrize("element", ["e4m3fn", "e5m2"])
@pytest.mark.parametrize("small", [0, 2, 18])
def test_bf16_under_powers_of_two(element, block, rule, small, at):
    """The commonest way, which has code of its own. small: some values are that many powers of two below the others."""
    random = np.random.default_rng(small)
    x = random.standard_normal((140, 700)) * np.exp2(-random.integers(0, small + 1, (140, 700))) * 0.02
    x[random.random(x.shape) < 0.1] *= 0
    x = numbers.decode(numbers.encode(x.astype(np.float32), "bf16"), "bf16")
    true = numbers.quantize(x, element, block, "pow2", rule)
    codes, scales, _ = encode(x, element, block, "pow2", rule, source="bf16", at=at)
    assert scales.tobytes() == true.scales.tobytes()
    assert codes == true.codes


@pytest.mark.parametrize("source", ["bf16", "f16", "f32"])
@pytest.mark.parametrize("element", ["e4m3fn", "e5m2", "e2m1", "int8", "hif8"])
def test_blocks_of_every_bf16_value(element, source):
    """Blocks of one exponent each: smallest and largest scales, infinities and NaN in some."""
    x = every_bf16()
    x = numbers.decode(numbers.encode(x, source), source)
    kind, rule = ("f32", "") if element == "int8" else ("pow2", "ceil")
    true = numbers.quantize(x, element, (1, 32), kind, rule)
    codes, scales, _ = encode(x, element, (1, 32), kind, rule, source=source)
    assert scales.tobytes() == true.scales.tobytes()
    finite = np.isfinite(x)
    assert np.array_equal(
        numbers.unpacked(codes, element, *x.shape)[finite], numbers.unpacked(true.codes, element, *x.shape)[finite]
    )


@pytest.mark.parametrize("element", numbers.ELEMENTS)
@pytest.mark.parametrize("shape", [(1, 1), (130, 257), (128, 640)])
def test_scales_multiply_what_codes_stand_for(element, shape, at):
    rows, columns = shape
    x, block = sample(*shape), (128, 128)
    codes = numbers.encode(x, element)
    scales = np.random.default_rng(1).standard_normal(numbers.grid(shape, block)).astype(np.float32)
    found = bytearray(4 * x.size)
    source = Matrix(element, numbers.packed(codes, element), scales.tobytes(), block)
    codec.convert(source, Matrix("f32", found), rows, columns, None, "", None, at=at)
    assert same(
        np.frombuffer(found, np.float32).reshape(shape),
        numbers.decode(codes, element) * numbers.spread(scales, shape, block),
    )


@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("shape", [(5, 3), (130, 1031)])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("element", [*SCALABLE, *numbers.INTEGERS])
def test_levels_agree_in_every_bit(element, block, shape, level):
    x = sample(*shape)
    x[0, :2] = np.nan, np.inf
    kind = "f32" if element in numbers.INTEGERS else "pow2"
    best, other = (encode(x, element, block, kind, "floor", at=name) for name in (LEVELS[0], level))
    assert best[0] == other[0]
    assert best[1].tobytes() == other[1].tobytes()
    assert bytes(best[2]) == bytes(other[2])


def test_rows_may_lie_apart_and_scales_be_shared():
    x = sample(6, 40)
    apart = np.zeros((6, 50), np.float32)
    apart[:, :40] = x
    true, _, _ = encode(x, "e4m3fn")
    codes = bytearray(b"\x11" * (5 * 64 + 40))
    codec.convert(Matrix("f32", apart.tobytes(), stride=200), Matrix("e4m3fn", codes, stride=64), 6, 40, None, "", None)
    rows = [bytes(codes[64 * r : 64 * r + 64]) for r in range(6)]
    assert b"".join(row[:40] for row in rows) == true
    assert all(row[40:] == b"\x11" * 24 for row in rows[:5])
    per_tensor = Matrix("e4m3fn", true, np.float32(0.5).tobytes())
    found = bytearray(4 * 240)
    codec.convert(per_tensor, Matrix("f32", found), 6, 40, None, "", None)
    values = numbers.decode(np.frombuffer(true, np.uint8), "e4m3fn") * np.float32(0.5)
    assert bytes(found) == values.tobytes()


@pytest.mark.parametrize(
    ("codes", "scales", "stride"),
    [(b"\0" * 31, None, 0), (b"\0" * 39, None, 36), (b"\0" * 32, b"\0" * 7, 0)],
)
def test_buffers_that_are_too_short_are_refused(codes, scales, stride):
    source = Matrix("int8", codes, scales, (1, 0), stride)
    with pytest.raises(ValueError, match="bytes for a buffer of"):
        codec.convert(source, Matrix("f32", bytearray(128)), 2, 16, None, "", None)


def test_files_may_be_mapped_read_only(tmp_path):
    x = sample(4, 8)
    (tmp_path / "weights").write_bytes(x.tobytes())
    with (tmp_path / "weights").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        found = bytearray(x.nbytes)
        codec.convert(Matrix("f32", memoryview(mapped)), Matrix("f32", found), 4, 8, None, "", None)
    assert bytes(found) == x.tobytes()  # and the map could be closed: nothing holds it


def test_no_rows_and_no_columns_are_nothing(at):
    errors = Errors()
    for rows, columns in [(0, 8), (8, 0), (0, 0)]:
        target = Matrix("e4m3fn", bytearray(), bytearray(64), (1, 0))
        codec.convert(Matrix("f32", b""), target, rows, columns, "pow2", "ceil", errors, at=at)
    assert bytes(errors) == bytes(ctypes.sizeof(Errors))
