"""GGUF's groups of values are decoded as the package gguf decodes them, to the bit."""

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants

from xinqiao.native import codec
from xinqiao.native.codec import Matrix


def groups(element, rows, across):
    """Random bytes, with half-precision scales that are finite numbers."""
    values, size = codec.GROUPS[element]
    random = np.random.default_rng(0)
    made = random.integers(0, 256, (rows, across, size), dtype=np.uint8)
    halves = {"q2_k": (80, 82), "q3_k": (108,), "q6_k": (208,), "q8_0": (0,), "q4_0": (0,), "q5_0": (0,)}
    for at in halves.get(element, (0, 2)):
        scales = (random.standard_normal((rows, across)) * 0.01).astype(np.float16)
        scales[0, 0] = 6e-8  # subnormal
        made[:, :, at : at + 2] = scales[..., None].view(np.uint8)
    return made.reshape(rows, -1), values * across


@pytest.mark.parametrize("at", codec.levels())
@pytest.mark.parametrize("element", codec.GROUPS)
def test_values_are_those_of_gguf(element, at):
    made, columns = groups(element, 5, 9)
    true = quants.dequantize(made, GGMLQuantizationType[element.upper()])
    found = bytearray(4 * 5 * columns)
    codec.convert(Matrix(element, made.tobytes()), Matrix("f32", found), 5, columns, None, "", None, at=at)
    assert bytes(found) == true.astype(np.float32).tobytes()


@pytest.mark.parametrize("element", codec.GROUPS)
def test_groups_become_blocks_of_another_format(element):
    made, columns = groups(element, 130, 3)
    true = quants.dequantize(made, GGMLQuantizationType[element.upper()]).astype(np.float32)

    def codes(source):
        found, scales = bytearray(130 * columns), bytearray(4 * 2 * -(-columns // 128))
        codec.convert(source, Matrix("e4m3fn", found, scales, (128, 128)), 130, columns, "pow2", "ceil", None)
        return found, scales

    assert codes(Matrix(element, made.tobytes())) == codes(Matrix("f32", true.tobytes()))
