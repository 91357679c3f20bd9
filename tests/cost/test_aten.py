"""ATen calls as kernels: kind, rows, traffic; and the same seconds as a model's own kernels have."""

import timeit

import pytest

from xinqiao.chips import catalog
from xinqiao.cost import kernel, roofline
from xinqiao.cost.aten import kernel as lower
from xinqiao.cost.work import Tensor

PRICE = roofline.price(catalog.load("h200"))


def t(*shape, size=2):
    return Tensor(shape, size)


TABLE, IDS = t(1000, 64), t(5, size=8)


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "kind", "rows", "nbytes"),
    [
        ("mm", [t(4, 8), t(8, 16)], [t(4, 16)], "gemm", 4, 2 * (32 + 128 + 64)),
        ("addmm", [t(16), t(4, 8), t(8, 16)], [t(4, 16)], "gemm", 4, 2 * (16 + 32 + 128 + 64)),
        ("linear", [t(3, 4, 8), t(16, 8)], [t(3, 4, 16)], "gemm", 12, 2 * (96 + 128 + 192)),
        ("bmm", [t(3, 4, 8), t(3, 8, 16)], [t(3, 4, 16)], "grouped_gemm", 4, 2 * (96 + 384 + 192)),
        # one of four experts where one row meets one; all of them where many do
        ("_grouped_mm", [t(1, 8), t(4, 8, 16), t(4, size=4)], [t(1, 16)], "grouped_gemm", 1, 16 + 256 + 16 + 32),
        ("_grouped_mm", [t(800, 8), t(4, 8, 16), t(4, size=4)], [t(800, 16)], "grouped_gemm", 200, 39440),
        ("add.Tensor", [t(8), t(8)], [t(8)], "elementwise", 0, 48),
        ("add_.Tensor", [t(8), t(8)], [], "elementwise", 0, 48),
        ("add.out", [t(8), t(8), t(8)], [], "elementwise", 0, 48),
        ("fill_.Scalar", [t(8)], [], "elementwise", 0, 16),
        ("embedding", [TABLE, IDS], [t(5, 64)], "elementwise", 0, 640 + 40 + 640),
        ("index_select", [TABLE, IDS], [t(5, 64)], "elementwise", 0, 640 + 40 + 640),
        ("_foreach_mul_.Scalar", [t(8), t(4)], [], "elementwise", 0, 48),
        ("_foreach_add_.List", [t(8), t(4), t(8), t(4)], [], "elementwise", 0, 48 + 24),
        ("_foreach_addcdiv_.ScalarList", [t(8)] * 3, [], "elementwise", 0, 64),
        # gradients, parameters and two moments are read, all but the gradients written
        ("_fused_adamw_", [t(8)] * 4, [], "elementwise", 0, 4 * 16 + 3 * 16),
    ],
)
def test_kernels(operator, inputs, outputs, kind, rows, nbytes):
    found = lower(f"aten::{operator}", "bfloat16", inputs, outputs)
    assert (found.kind, found.rows, found.bytes) == (kind, pytest.approx(rows), pytest.approx(nbytes))


FLASH = "aten::_scaled_dot_product_flash_attention"


def test_few_queries_read_a_cache():
    q, k = t(2, 32, 1, 128), t(2, 8, 4096, 128)
    found = lower(FLASH, "bfloat16", [q, k, k], [])
    assert (found.kind, found.cache, found.bytes) == ("decode_attention", 2 * k.bytes, 2 * q.bytes)
    assert found.flops == 2 * 32 * 4096 * 128 * 4


@pytest.mark.parametrize(("causal", "keys"), [(True, 2048.5), (False, 4096)])
def test_many_queries_are_a_prompt(causal, keys):
    q, k = t(1, 32, 4096, 128), t(1, 8, 4096, 128)
    found = lower(FLASH, "bfloat16", [q, k, k], [], flag=causal)
    expected = kernel.prefill_attention(4096, keys, 32, (128, 128), kv_heads=8)
    assert found.flops == expected.flops
    assert found.bytes == expected.bytes
    back = lower(f"{FLASH}_backward", "bfloat16", [q, q, k, k], [], flag=causal)
    assert back.flops == 2.5 * found.flops


@pytest.mark.parametrize("rows", [1, 64, 4096])
def test_an_operator_costs_what_the_models_kernel_costs(rows):
    n, k = 14336, 4096
    found = roofline.operator(PRICE, "aten::mm", "bfloat16", [t(rows, k), t(k, n)], [t(rows, n)])
    assert found.seconds == PRICE.kernel(kernel.gemm(rows, n, k)).seconds


def test_an_operator_is_priced_in_microseconds():
    call = [t(64, 4096), t(4096, 14336)], [t(64, 14336)]
    took = min(timeit.repeat(lambda: roofline.operator(PRICE, "aten::mm", "bfloat16", *call), number=100, repeat=5))
    assert took / 100 < 50e-6
