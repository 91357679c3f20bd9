"""Interpolation between measured kernels: exact where measured, sensible between, the model alone far away."""

from math import exp, log
from random import Random

import msgspec
import pytest

from tests.processor import within
from xinqiao.chips import catalog
from xinqiao.chips.table import SIZES, Row, Table, text
from xinqiao.cost.kernel import Kernel, decode_attention, elementwise, gemm, prefill_attention
from xinqiao.cost.price import Price
from xinqiao.cost.software import load
from xinqiao.cost.table import Measured, kernel_of


def row(kind="gemm", form="bf16", shape=(64, 4096, 4096), *, seconds=1.0, spread=0.0):
    return Row(kind=kind, format=form, shape=shape, seconds=seconds, spread=spread, repeats=5)


def one_second(_kernel):
    return 1.0


@pytest.mark.parametrize(
    ("kind", "shape", "kernel"),
    [
        ("gemm", (8, 16, 32), gemm(8, 16, 32)),
        ("grouped_gemm", (8, 16, 32, 4), gemm(8, 16, 32, groups=4)),
        ("prefill_attention", (2, 63, 8, 2, 64), prefill_attention(126, 32, 8, (64, 64), kv_heads=2)),
        ("decode_attention", (3, 100, 8, 2, 64), decode_attention(3, 100, 8, (64, 64), cache=3 * 100 * 512)),
        ("elementwise", (1000, 3), elementwise(1000, passes=3)),
        ("norm", (10, 100), elementwise(1000, passes=4)._replace(kind="norm")),
        ("embedding", (10, 100), elementwise(1000)),
        ("copy", (2000,), elementwise(1000)),
        ("launch", (1,), elementwise(1)),
    ],
)
def test_a_row_is_the_kernel_that_a_model_has(kind, shape, kernel):
    assert kernel_of(kind, "bf16", shape) == kernel


def test_every_kind_of_row_is_a_kernel_with_a_place():
    for kind, sizes in SIZES.items():
        assert min(kernel_of(kind, "bf16", (2,) * len(sizes)).shape) > 0


def test_heads_are_like_tokens():
    """An operator that PyTorch calls has heads folded into rows; both ways to write it lie at one place."""
    assert prefill_attention(100, 50, 8, (64, 64)).shape == prefill_attention(800, 50, 1, (64, 64)).shape
    one, folded = (decode_attention(*of, (64, 64), cache=2e5).shape for of in ((4, 100, 8), (32, 100, 1)))
    assert one == folded


@pytest.mark.parametrize(
    ("rows", "kernel", "factor"),
    [
        ([row(seconds=2.0)], gemm(64, 4096, 4096), 2.0),
        ([row(seconds=2.0), row(shape=(1, 4096, 4096), seconds=0.5)], gemm(64, 4096, 4096), 2.0),
        ([row(seconds=2.0), row(shape=(256, 4096, 4096), seconds=4.0)], gemm(128, 4096, 4096), 8**0.5),
        ([row(seconds=2.0)], gemm(64 * 2**40, 4096, 4096), 1.0),  # far away: nothing is known
    ],
)
def test_factors(rows, kernel, factor):
    assert Measured(rows, one_second).correction(kernel).factor == pytest.approx(factor, rel=0.05)


def test_a_product_of_one_row_is_another_kernel_than_one_of_two():
    rows = [row(shape=(1, 4096, 4096), seconds=0.5), row(shape=(4, 4096, 4096), seconds=2.0)]
    found = Measured(rows, one_second).correction
    assert found(gemm(2, 4096, 4096)).factor > 1.7  # an octave from both, but like the one of four
    assert found(gemm(1, 2048, 4096)).factor < 0.6


def test_decode_attention_is_like_where_as_many_heads_share_a_key():
    """A chip that does not reuse keys: what counts is the group, not the number of heads."""
    rows = [
        row("decode_attention", shape=(16, 512, 16, 16, 64), seconds=1.0),
        row("decode_attention", shape=(16, 512, 16, 2, 64), seconds=4.0),
    ]
    found = Measured(rows, one_second).correction
    alone = kernel_of("decode_attention", "bf16", (2, 512, 12, 12, 64))
    shared = kernel_of("decode_attention", "bf16", (2, 512, 16, 2, 64))
    assert found(alone).factor < 1.4
    assert found(shared).factor > 2.8


def test_a_factor_is_of_the_model():
    found = Measured([row(seconds=3.0)], lambda kernel: kernel.flops / (2 * 64 * 4096**2)).correction
    assert found(gemm(64, 4096, 4096)).factor == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize(
    "kernel",
    [
        gemm(64, 4096, 4096, "fp8"),
        gemm(64, 4096, 4096, groups=8),
        elementwise(4096),
        Kernel("gemm", "bf16", 1.0, 1.0),
        gemm(0, 4096, 4096),
    ],
)
def test_nothing_is_said_of_what_was_not_measured(kernel):
    assert Measured([row()], one_second).correction(kernel) is None


def test_the_spread_is_small_where_neighbours_agree_and_large_where_they_do_not():
    places = [(m, 4096, 4096) for m in (16, 32, 64, 128, 256)]
    agree = Measured([row(shape=shape, seconds=2.0) for shape in places], one_second)
    differ = Measured([row(shape=s, seconds=2.0 if i % 2 else 1.0) for i, s in enumerate(places)], one_second)
    noisy = Measured([row(shape=shape, seconds=2.0, spread=0.2) for shape in places], one_second)
    kernel = gemm(48, 4096, 4096)
    assert agree.correction(kernel).spread < 0.05
    assert differ.correction(kernel).spread > 0.25
    assert noisy.correction(kernel).spread >= 0.2


def test_the_spread_grows_with_the_distance():
    table = Measured([row(shape=(2**i, 2048, 2048), seconds=1 + i // 2 % 2) for i in range(4, 12, 2)], one_second)
    near, far, further = (table.correction(gemm(m, 2048, 2048)).spread for m in (2**6, 2**5, 2**16))
    assert near < far < further


def truth(kernel):
    """A device whose efficiency bends: a kernel with few rows is slow, a wide one fast."""
    m, n, _ = kernel.shape
    return kernel.flops / 1e12 * (1 + 60 / m) * (1 + 0.3 * log(n / 4096)) ** -0.5 + kernel.bytes / 1e9


def test_a_hundred_rows_predict_others_better_than_the_model_and_the_spread_is_honest():
    random = Random(1)

    def size(low, high):
        return int(exp(random.uniform(log(low), log(high))))

    def some(count):
        return [(size(1, 8192), size(1024, 16384), size(1024, 16384)) for _ in range(count)]

    def model(kernel):
        return kernel.flops / 1.3e12 + kernel.bytes / 1e9

    rows = [row(shape=s, seconds=truth(gemm(*s)) * exp(random.gauss(0, 0.03)), spread=0.03) for s in some(100)]
    table = Measured(rows, model)
    before, after, inside = [], [], 0
    for kernel in [gemm(*shape) for shape in some(200)]:
        found = table.correction(kernel)
        before.append(abs(log(model(kernel) / truth(kernel))))
        after.append(abs(log(model(kernel) * found.factor / truth(kernel))))
        inside += after[-1] < 1.2816 * found.spread
    assert sorted(after)[100] < 0.4 * sorted(before)[100]
    assert sorted(after)[100] < 0.06
    assert inside > 140  # of 200; an interval of 80 % holds 160


def test_a_call_is_quick():
    table = Measured([row(shape=(2**i, 2**j, 4096)) for i in range(8) for j in range(9, 14)], one_second)
    kernels = [gemm(m, 5000, 4000) for m in range(1, 2001)]
    with within(300e-6 * len(kernels)):  # a tenth of it on a quiet machine
        for kernel in kernels:
            table.correction(kernel)


def table_file(folder, rows):
    head = Table(
        schema=1, device="npu", name="A", capacity=64e9, torch="2.13.0", date="2026-11-30", threads=1, host="h",
        clock="event", row=tuple(rows),
    )  # fmt: skip
    file = folder / "a.toml"
    file.write_text(text(head))
    return file


ROWS = [
    *[row(shape=(m, 4096, 4096), seconds=1e-5 + m * 1e-6) for m in (1, 16, 256, 4096)],
    row(form="int8", shape=(256, 4096, 4096), seconds=5e-5),
    row("decode_attention", shape=(8, 4096, 32, 8, 128), seconds=2e-4),
    row("copy", shape=(10**9,), seconds=2e-3),
]


def test_a_price_with_a_table_is_what_was_measured(tmp_path):
    price = Price(catalog.load(str(table_file(tmp_path, ROWS))), load("generic"))
    for one in ROWS:
        kernel = kernel_of(one.kind, one.format, one.shape)
        assert price.kernel(kernel).seconds == pytest.approx(one.seconds, rel=0.35), one
        assert price.kernel(kernel._replace(count=3)).seconds == pytest.approx(3 * price.kernel(kernel).seconds)
    assert price.level == "measured"
    assert price.correction(gemm(100, 5000, 4000)) is not None
    assert price.correction(elementwise(4096)._replace(kind="norm")) is None  # priced with constants


def test_a_table_of_a_format_that_the_chip_refuses_is_left_out(tmp_path):
    chip = msgspec.structs.replace(
        catalog.load("ascend-910c"), calibration=str(table_file(tmp_path, [*ROWS, row(form="fp8")]))
    )
    assert "fp8" in chip.lacks
    assert Price(chip, load("generic")).correction(gemm(64, 4096, 4096)) is not None
    assert Price(chip, load("generic")).correction(gemm(64, 4096, 4096, "fp8")) is None


def test_measured_formats_have_a_measured_spread_and_others_that_of_constants(tmp_path):
    chip = catalog.load("ascend-910c")
    modelled = Price(chip, load("generic"))
    shapes = [(m, n, 4096) for m in (512, 1024, 2048, 4096) for n in (2048, 8192)]
    rows = [row(shape=shape, seconds=1.1 * modelled.kernel(gemm(*shape)).seconds) for shape in shapes]
    measured = Price(msgspec.structs.replace(chip, calibration=str(table_file(tmp_path, rows))), load("generic"))
    for form, narrower in (("bf16", True), ("int8", False)):
        kernel = gemm(2048, 8192, 4096, form)
        spreads = [price.spread(price.kernel(kernel)) for price in (measured, modelled)]
        assert (spreads[0] < spreads[1] - 1e-6) == narrower
