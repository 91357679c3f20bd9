"""Block-scaled FP8 linear layers: the reference against fp64, and the kernels of every level against that."""

import ctypes

import numpy as np
import pytest
import torch

from tests.ops import eight_bits
from xinqiao.native import processor
from xinqiao.ops import backend
from xinqiao.ops.cpu import linear as cpu
from xinqiao.ops.linear import linear_block_fp8

SHAPES = [(1, 1), (3, 5), (16, 64), (130, 257), (48, 576), (257, 1000), (128, 128)]
BLOCKS = [(128, 128), (1, 32)]
TOKENS = [1, 2, 3, 8, 9, 17]
DTYPES = [torch.float32, torch.bfloat16]


def kernel(level, x, w, block, bias=None):
    held = cpu.fp8_weights(w.codes, w.scale, block)
    return cpu.few(cpu.library(level).xq_linear_fp8, held, x, bias, x.dtype)


def near(found, x, w):
    true = x.double() @ w.values.T
    wrong = (found.double() - true).abs() - eight_bits.bound(x, w.values, true, found.dtype)
    return bool((wrong <= 0).all())


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
@pytest.mark.parametrize("kind", eight_bits.SCALES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_the_reference_is_a_product_with_decoded_weights(n, k, block, kind, dtype):
    w, x = eight_bits.fp8(n, k, block, kind), eight_bits.tokens((3, k), dtype)
    with backend.use("reference"):
        assert near(linear_block_fp8(x, w.codes, w.scale, block=block), x, w)
        wide = linear_block_fp8(x.double(), w.codes, w.scale, block=block)
    assert torch.allclose(wide, x.double() @ w.values.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("level", processor.levels())
@pytest.mark.parametrize("kind", eight_bits.SCALES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_every_level_computes_it(n, k, block, kind, level):
    w = eight_bits.fp8(n, k, block, kind)
    for dtype in DTYPES:
        for count in TOKENS:
            x = eight_bits.tokens((count, k), dtype, count)
            assert near(kernel(level, x, w, block), x, w), (dtype, count)


@pytest.mark.parametrize("level", processor.levels())
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_code(level, dtype):
    codes = np.arange(256, dtype=np.uint8)[:, None]
    w = eight_bits.weights(codes, torch.ones(256, 1), np.ones((256, 1)))
    found = kernel(level, torch.ones(1, 1, dtype=dtype), w, (1, 32)).double()
    assert torch.equal(found[0].nan_to_num(9999), w.values[:, 0].nan_to_num(9999))


@pytest.mark.parametrize("level", processor.levels())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("flushed", [False, True])
def test_subnormal_codes_count_also_where_the_thread_flushes_subnormals(flushed, block, dtype, level):
    codes = np.arange(128 * 256, dtype=np.uint8).reshape(128, 256) & 0x87
    w = eight_bits.weights(codes, torch.ones(128 // block[0], 256 // block[1]), np.ones((128, 256)))
    x = eight_bits.tokens((3, 256), dtype)
    if flushed and not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    try:
        found = kernel(level, x, w, block)
    finally:
        torch.set_flush_denormal(False)
    assert near(found, x, w)


def test_weights_in_long_use_stay_what_they_are():
    """They are moved to other pages after some uses."""
    w, x = eight_bits.fp8(2048, 1100), eight_bits.tokens((1, 1100), torch.bfloat16)
    codes = w.codes.view(torch.uint8).clone()
    found = [kernel(None, x, w, (128, 128)) for _ in range(40)]
    assert all(torch.equal(one, found[0]) for one in found)
    assert torch.equal(w.codes.view(torch.uint8), codes)


@pytest.mark.parametrize("level", processor.levels())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("size", [-40, -70, -100, -125])
def test_a_tiny_activation_counts_where_the_others_meet_no_weight(size, block, dtype, level):
    codes = np.full((128, 256), 0x39, np.uint8)
    codes[5, 1:] = 0
    w = eight_bits.weights(codes, torch.ones(128 // block[0], 256 // block[1]), np.ones((128, 256)))
    x = eight_bits.tokens((2, 256), dtype)
    x[0, 0] = 2.0**size
    assert near(kernel(level, x, w, block), x, w)


CORNERS = {  # what is computed → (exponent of x, exponents of the scales of two blocks, code); the second x is 1
    "x times scale overflows, the result does not": (110, (20, 0), 0x08),
    "x times scale is subnormal": (-100, (-60, 0), 0x7E),
    "x is subnormal": (-130, (60, 0), 0x38),
    "products with codes overflow before they are scaled": (125, (-40, 0), 0x7E),
    "the largest scale": (-60, (127, 0), 0x01),
    "the smallest scale": (60, (-127, -127), 0x38),
}


@pytest.mark.parametrize("level", processor.levels())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("corner", CORNERS.values(), ids=CORNERS)
def test_the_ends_of_the_range(corner, block, dtype, level):
    size, powers, code = corner
    columns = block[1]
    codes = np.full((block[0], 2 * columns), code, np.uint8)
    codes[:, 3:columns] = 0
    scale = torch.tensor([[p + 127 for p in powers]], dtype=torch.uint8)
    w = eight_bits.weights(codes, scale, np.repeat(np.exp2(np.array([powers], float)), columns, 1))
    x = torch.ones(2, 2 * columns, dtype=torch.float64)
    x[0, :columns] = 2.0**size
    x = x.to(dtype)
    for scales in (scale, scale.view(torch.float8_e8m0fnu).float()):
        assert near(kernel(level, x, w._replace(scale=scales), block), x, w)


@pytest.mark.parametrize("level", processor.levels())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_token(value, block, dtype, level):
    w, x = eight_bits.fp8(40, 200, block), eight_bits.tokens((3, 200), dtype)
    clean = kernel(level, x, w, block)
    x[1, 7] = value
    found = kernel(level, x, w, block)
    assert not found[1].isfinite().any()
    for token in (0, 2):
        true = x[token : token + 1]
        assert near(found[token : token + 1], true, w) and near(clean[token : token + 1], true, w)
        if dtype == torch.float32:  # bfloat16 may be multiplied as float32 beside such a token
            assert torch.equal(found[token], clean[token])


@pytest.mark.parametrize("level", processor.levels())
@pytest.mark.parametrize("block", BLOCKS)
def test_a_weight_or_scale_that_is_nan_reaches_its_outputs_alone(block, level):
    w, x = eight_bits.fp8(200, 70, block, "bytes"), eight_bits.tokens((2, 70), torch.bfloat16) + 1
    codes, scale = w.codes.view(torch.uint8).clone(), w.scale.clone()
    codes[5, 69] = 0x7F
    scale[-1, -1] = 255
    found = kernel(level, x, w._replace(codes=codes.view(torch.float8_e4m3fn), scale=scale), block)
    rows = torch.zeros(200, dtype=torch.bool)
    rows[5] = True
    rows[128 if block[0] == 128 else 199 :] = True
    assert torch.equal(found.isnan(), rows.expand(2, -1))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads):
    w, x = eight_bits.fp8(300, 320), eight_bits.tokens((5, 320), torch.float32)
    x[0, 0] = 2.0**-70  # sums near zero of a token that has such a number are computed in another way,
    w.codes.view(torch.uint8)[130] = 0  # and rows of a block may be of two threads
    before = torch.get_num_threads()
    one = kernel(None, x, w, (128, 128))
    try:
        torch.set_num_threads(threads)
        assert torch.equal(kernel(None, x, w, (128, 128)), one)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
@pytest.mark.parametrize("kind", eight_bits.SCALES)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("shape", [(), (1,), (2, 5), (64,), (3, 70), (0,), (2, 0)])
def test_any_number_of_tokens(shape, block, kind, dtype):
    w, x = eight_bits.fp8(136, 200, block, kind), eight_bits.tokens((*shape, 200), dtype)
    found = linear_block_fp8(x, w.codes, w.scale, block=block)
    assert found.shape == (*shape, 136) and found.dtype == dtype
    assert near(found, x, w)


@pytest.mark.parametrize(("n", "k"), [(0, 40), (40, 0), (0, 0)])
@pytest.mark.parametrize("count", [2, 50])
def test_nothing(n, k, count):
    w, x = eight_bits.fp8(n, k), eight_bits.tokens((count, k), torch.bfloat16)
    bias = torch.ones(n)
    assert torch.equal(linear_block_fp8(x, w.codes, w.scale, bias), torch.ones(count, n, dtype=torch.bfloat16))


@pytest.mark.parametrize("count", [2, 50])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_bias(dtype, count):
    w, x = eight_bits.fp8(136, 200), eight_bits.tokens((count, 200), dtype)
    for bias in (eight_bits.tokens((136,), dtype, 1), eight_bits.tokens((136,), torch.float32, 1)):
        found = linear_block_fp8(x, w.codes, w.scale, bias).double()
        true = x.double() @ w.values.T + bias.double()
        far = eight_bits.bound(x, w.values, true, dtype) + 2.0**-23 * true.abs()
        if count > cpu.FEW:  # PyTorch's product is rounded before the bias is added
            far += torch.finfo(dtype).eps * (x.double() @ w.values.T).abs()
        assert ((found - true).abs() <= far).all()


def test_values_of_parts():
    for kind in ("powers", "any"):
        for block in BLOCKS:
            w = eight_bits.fp8(300, 500, block, kind)
            held = cpu.fp8_weights(w.codes, w.scale, block)
            for part in (cpu.Part(0, 300, 0, 500), cpu.Part(130, 77, 128, 300)):
                true = w.values[part.row :, part.column :][: part.rows, : part.columns]
                assert torch.equal(cpu.values(held, part, torch.float32), true.float())
                if kind == "powers":
                    assert torch.equal(cpu.values(held, part, torch.bfloat16).double(), true)


@pytest.mark.parametrize(
    ("kind", "plain"), [("powers", True), ("e8m0", True), ("bytes", True), ("common", False), ("any", False)]
)
def test_which_matrices_are_exact_in_bf16(kind, plain):
    for block in BLOCKS:
        w = eight_bits.fp8(130, 200, block, kind)
        assert cpu.library().xq_linear_plain(ctypes.byref(cpu.fp8_weights(w.codes, w.scale, block))) == plain
