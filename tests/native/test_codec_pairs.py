"""The compiled kernels against their reference in plain PyTorch: every format, block, scale and rule, to the bit."""

from itertools import product

import pytest
import torch

from xinqiao.formats import panel
from xinqiao.native import codec

FIELDS = [name for name, _ in codec.Errors._fields_]
PLAIN = [name for name in codec.ELEMENTS if name not in codec.GROUPS and name != "f64"]
SHAPES = [(1, 1), (7, 33), (129, 300), (256, 512)]
BLOCKS = [(128, 128), (1, 32), (1, 128), (1, 0)]
WAYS = [("f32", ""), ("bf16", ""), *(("pow2", rule) for rule in codec.RULES)]


def some_values(rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, columns, generator=generator) * torch.randn(rows, 1, generator=generator).exp() * 0.02
    values[0, 0] = 0
    return values


def made(kernel, source, element, block, size, scale, rule):
    rows, columns = size
    height, width = block[0] or rows, block[1] or columns
    codes = bytearray(rows * codec.row_bytes(element, columns))
    scales = bytearray(4 * -(-rows // height) * -(-columns // width)) if scale else None
    errors = codec.Errors()
    kernel.convert(source, codec.Matrix(element, codes, scales, block), rows, columns, scale, rule, errors)
    return codes, scales, [getattr(errors, name) for name in FIELDS]


def check(source, element, block, size, scale, rule):
    a = made(codec, source, element, block, size, scale, rule)
    b = made(panel, source, element, block, size, scale, rule)
    assert a[:2] == b[:2]
    assert a[2][:5] == b[2][:5]
    assert a[2][5:] == pytest.approx(b[2][5:], rel=1e-4)


@pytest.mark.parametrize("element", PLAIN)
@pytest.mark.parametrize("size", SHAPES)
def test_unscaled(element, size):
    source = codec.Matrix("f32", some_values(*size).numpy().tobytes())
    check(source, element, (0, 0), size, None, "")


@pytest.mark.parametrize("element", [name for name in PLAIN if name not in ("f32", "f16", "bf16", "e8m0")])
@pytest.mark.parametrize("size", SHAPES)
def test_scaled(element, size):
    source = codec.Matrix("f32", some_values(*size).numpy().tobytes())
    for block, (scale, rule) in product(BLOCKS, WAYS):
        if scale != "pow2" or not element.startswith("int"):
            check(source, element, block, size, scale, rule)


SOURCES = [("e4m3fn", (128, 128)), ("e4m3fn", (1, 32)), ("e2m1", (1, 32)), ("int8", (1, 0)), ("hif8", (1, 0))]
TARGETS = [
    ("bf16", (0, 0), None, ""),
    ("e4m3fn", (1, 32), "pow2", "ceil"),
    ("e4m3fn", (128, 128), "f32", ""),
    ("int8", (1, 0), "f32", ""),
    ("int8", (128, 128), "f32", ""),
    ("e2m1", (1, 32), "pow2", "ceil"),
]


@pytest.mark.parametrize(("element", "block"), SOURCES)
@pytest.mark.parametrize("target", TARGETS)
def test_from_one_quantised_format_to_another(element, block, target):
    size = (200, 416)
    values = codec.Matrix("f32", some_values(*size).numpy().tobytes())
    codes, scales, _ = made(codec, values, element, block, size, "f32", "")
    check(codec.Matrix(element, codes, scales, block), *target[:2], size, *target[2:])
