"""FLOPs and bytes of single kernels, from their shapes."""

import pytest

from xinqiao.cost.kernel import decode_attention, elementwise, gemm, prefill_attention, stored


@pytest.mark.parametrize(
    ("form", "bits"),
    [("fp32", 32), ("bf16", 16), ("fp8", 8), ("int8", 8), ("mxfp8", 8 + 8 / 32), ("mxfp4", 4 + 8 / 32)],
)
def test_a_number_takes_its_bits_and_its_share_of_a_scale(form, bits):
    assert stored(form) * 8 == bits


@pytest.mark.parametrize(
    ("form", "inputs", "product", "moved"),
    [
        ("bf16", "", "bf16", 2 * (4 * 32 + 16 * 32) + 2 * 4 * 16),
        ("fp8", "", "fp8", 4 * 32 + 16 * 32 + 2 * 4 * 16),
        ("int8", "", "int8", 4 * 32 + 16 * 32 + 2 * 4 * 16),
        ("mxfp8", "", "fp8", 1.03125 * (4 * 32 + 16 * 32) + 2 * 4 * 16),
        ("mxfp4", "fp8", "fp8", 4 * 32 + 0.53125 * 16 * 32 + 2 * 4 * 16),
        ("int4", "bf16", "bf16", 2 * 4 * 32 + 0.53125 * 16 * 32 + 2 * 4 * 16),
    ],
)
def test_a_product_reads_weights_as_they_are_kept_and_multiplies_as_activations_are(form, inputs, product, moved):
    made = gemm(4, 16, 32, form, inputs=inputs)
    assert (made.kind, made.format, made.flops, made.rows) == ("gemm", product, 2 * 4 * 16 * 32, 4)
    assert made.bytes == pytest.approx(moved)


def test_a_grouped_product_is_as_many_products():
    one, many = gemm(4, 16, 32), gemm(4, 16, 32, groups=8)
    assert (many.kind, many.flops, many.bytes, many.rows) == ("grouped_gemm", 8 * one.flops, 8 * one.bytes, one.rows)


@pytest.mark.parametrize(
    ("kv_heads", "moved"),
    [(0, 10 * (8 + 8) * (64 + 32) * 2), (2, 10 * (8 + 2) * (64 + 32) * 2)],
)
def test_prefill_attention_multiplies_twice_and_passes_everything_once(kv_heads, moved):
    made = prefill_attention(10, 5.5, 8, (64, 32), kv_heads=kv_heads)
    assert made.flops == 2 * 10 * 5.5 * 8 * 64 + 2 * 10 * 5.5 * 8 * 32
    assert (made.bytes, made.cache) == (moved, 0)


def test_decode_attention_reads_the_cache_that_it_is_told():
    made = decode_attention(3, 100, 8, (64, 32), cache=12345)
    assert made.flops == 2 * 3 * 100 * 8 * (64 + 32)
    assert (made.bytes, made.cache) == (3 * 8 * (64 + 32) * 2, 12345)


def test_an_elementwise_kernel_only_moves():
    made = elementwise(1000, passes=3, count=2)
    assert (made.flops, made.bytes, made.count) == (0, 1000 * 2 * 3, 2)
