"""The reference on buffers: edges, strides, numbers that are none; and the kernels, where there is a compiler, too."""

import mmap

import pytest
import torch

from xinqiao.errors import InputError
from xinqiao.formats import panel
from xinqiao.native import codec
from xinqiao.native.codec import Errors, Matrix

KERNELS = [panel, codec]
COUNTS = ("count", "different", "saturated", "underflowed", "nonfinite")
TEN = [1.0, -2.0, 0.0, -0.0, 3e38, 1e-30, 448.0, 0.3, -1e30, 5.0]
ODD = [torch.inf, torch.nan, *TEN[:-3], -torch.inf]


def floats(*values):
    return torch.tensor(values, dtype=torch.float32).numpy().tobytes()


def converted(kernel, source, element, size, block=(0, 0), scale=None, stride=0):
    """(codes, scales, counts) of `source` as `element`; what lies between rows is 0xaa."""
    rows, columns = size
    width = codec.row_bytes(element, columns)
    codes = bytearray(b"\xaa" * ((stride or width) * rows))
    down = -(-rows // block[0]) if block[0] else 1
    across = -(-columns // block[1]) if block[1] else 1
    scales = bytearray(4 * down * across) if scale else None
    errors = Errors()
    kernel.convert(source, Matrix(element, codes, scales, block, stride), rows, columns, scale, "ceil", errors)
    return codes, scales, [getattr(errors, name) for name in COUNTS]


SAME = {  # source, element, (rows, columns), block, scale, stride
    "no rows": (Matrix("f32", b""), "bf16", (0, 10)),
    "no columns": (Matrix("f32", b""), "bf16", (3, 0)),
    "no rows, blocks": (Matrix("f32", b""), "e4m3fn", (0, 10), (128, 128), "pow2"),
    "no columns, blocks": (Matrix("f32", b""), "e4m3fn", (3, 0), (128, 128), "f32"),
    "one element": (Matrix("f32", floats(3.0)), "e4m3fn", (1, 1), (128, 128), "pow2"),
    "source with a stride": (Matrix("f32", floats(*TEN), None, (0, 0), 20), "bf16", (2, 3)),
    "target with a stride": (Matrix("f32", floats(*TEN)), "e4m3fn", (2, 5), (1, 0), "f32", 13),
    "odd columns, two a byte": (Matrix("f32", floats(*TEN, *TEN)), "e2m1", (4, 5), (1, 32), "pow2"),
    "double precision": (Matrix("f64", torch.tensor(TEN, dtype=torch.float64).numpy().tobytes()), "f32", (2, 5)),
    "one scale for all": (Matrix("e4m3fn", bytes(range(40)), floats(0.37), (0, 0)), "bf16", (4, 10)),
    "one scale for some columns": (Matrix("e4m3fn", bytes(range(40)), floats(0.4, 1, 2), (0, 4)), "bf16", (4, 10)),
    **{
        f"not finite, {element} {scale}": (Matrix("f32", floats(*ODD)), element, (2, 5), (1, 3), scale)
        for element, scale in [
            ("e4m3fn", "pow2"),
            ("e4m3fn", "f32"),
            ("int8", "f32"),
            ("int8", "bf16"),
            ("hif8", "f32"),
        ]
    },
}


@pytest.mark.parametrize("case", SAME.values(), ids=SAME)
def test_the_kernels_do_the_same(case):
    assert converted(panel, *case) == converted(codec, *case)


WRONG = {  # source, target, (rows, columns), scale, complaint
    "source": (Matrix("f32", bytes(9)), Matrix("bf16", bytearray(8)), (2, 2), None, "f32: 9 bytes for a buffer of 16"),
    "target": (Matrix("f32", bytes(16)), Matrix("bf16", bytearray(7)), (2, 2), None, "bf16: 7 bytes for a buffer of 8"),
    "scales": (
        Matrix("f32", bytes(16)),
        Matrix("e4m3fn", bytearray(4), bytearray(4), (1, 0)),
        (2, 2),
        "f32",
        "e4m3fn: 4 bytes for a buffer of 8",
    ),
}


@pytest.mark.parametrize("kernel", KERNELS, ids=["reference", "compiled"])
@pytest.mark.parametrize(("source", "target", "size", "scale", "complaint"), WRONG.values(), ids=WRONG)
def test_short_buffers(kernel, source, target, size, scale, complaint):
    with pytest.raises(ValueError, match=complaint):
        kernel.convert(source, target, *size, scale, "ceil", None)


def test_a_mapped_file(tmp_path):
    path = tmp_path / "values"
    path.write_bytes(floats(*TEN))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        found = converted(panel, Matrix("f32", memoryview(mapped)[8:]), "bf16", (2, 4))
        assert found == converted(panel, Matrix("f32", floats(*TEN[2:])), "bf16", (2, 4))


def test_formats_that_only_kernels_read():
    with pytest.raises(InputError, match="q8_0: only the compiled kernels"):
        converted(panel, Matrix("q8_0", bytes(34)), "bf16", (1, 32))


COMPARED = [  # truth, stored, (count, different, saturated, underflowed, nonfinite, signal, noise, largest)
    ([1.0, -2.0], [1.0, -2.0], (2, 0, 0, 0, 0, 5.0, 0.0, 0.0)),
    ([1.0, -2.0], [1.0, 2.0], (2, 1, 0, 0, 0, 5.0, 16.0, 4.0)),
    ([0.5, 0.0], [0.0, 0.5], (2, 2, 0, 1, 0, 0.25, 0.5, 0.5)),
    ([0.0], [-0.0], (1, 0, 0, 0, 0, 0.0, 0.0, 0.0)),
    ([torch.nan, torch.inf], [torch.nan, torch.inf], (2, 0, 0, 0, 2, 0.0, 0.0, 0.0)),
    ([torch.nan, torch.inf, 3.0], [1.0, 448.0, 3.0], (3, 2, 0, 0, 2, 9.0, 0.0, 0.0)),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=["reference", "compiled"])
@pytest.mark.parametrize(("truth", "stored", "meant"), COMPARED)
def test_compare(kernel, truth, stored, meant):
    errors = Errors()
    kernel.compare(Matrix("f32", floats(*truth)), Matrix("f32", floats(*stored)), 1, len(truth), errors)
    assert tuple(getattr(errors, name) for name, _ in Errors._fields_) == meant


@pytest.mark.parametrize("kernel", KERNELS, ids=["reference", "compiled"])
def test_errors_add_up(kernel):
    errors = Errors()
    for _ in range(3):
        kernel.compare(Matrix("f32", floats(500.0)), Matrix("e4m3fn", b"\x7e", floats(1.0)), 1, 1, errors)
    assert (errors.count, errors.saturated, errors.noise, errors.largest) == (3, 3, 3 * 52.0**2, 52.0)
