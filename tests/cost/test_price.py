"""Seconds of kernels: the roofline, its rounded corner, units that are not full, unknown figures, intervals."""

from math import exp, inf, sqrt

import msgspec
import pytest

from xinqiao.chips import catalog
from xinqiao.chips.figures import Duration
from xinqiao.cost import software
from xinqiao.cost.constants import Constant, Constants, constants
from xinqiao.cost.kernel import Kernel, decode_attention, elementwise, gemm
from xinqiao.cost.price import Z80, Interval, Price, interval
from xinqiao.cost.time import Time, overlapped, together
from xinqiao.cost.unknown import Unknown

STACK = software.load("generic")
NOTHING = ("half_rows", "launch", "core")  # constants that add something
IDEAL = Constants(**{name: Constant(0.0 if name in NOTHING else 1.0, 0.0) for name in Constants.__struct_fields__})
CHIP = msgspec.structs.replace(catalog.load("ascend-910b2"), launch=Duration())  # 376 TFLOPS fp16, 1.6 TB/s


def priced(kernel, chip=CHIP, **changed):
    """Constants of 1, nothing lost, but for `changed` ones, which have a spread of 0.1."""
    found = msgspec.structs.replace(IDEAL, **{name: Constant(value, 0.1) for name, value in changed.items()})
    return Price(chip, STACK, found).kernel(kernel)


@pytest.mark.parametrize(
    ("kernel", "changed", "seconds"),
    [
        (Kernel("gemm", "fp16", flops=3.76e11), {}, 1e-3),
        (Kernel("gemm", "fp16", flops=3.76e11), {"compute": 0.5}, 2e-3),
        (Kernel("gemm", "int8", flops=7.52e11), {"compute8": 0.5}, 2e-3),
        (Kernel("gemm", "fp16", flops=3.76e11, rows=16), {"half_rows": 16}, 2e-3),
        (Kernel("gemm", "fp16", flops=3.76e11, rows=48), {"half_rows": 16}, 4e-3 / 3),
        (Kernel("prefill_attention", "fp16", flops=3.76e11), {"attention": 0.5}, 2e-3),
        (Kernel("decode_attention", "fp16", flops=3.76e11), {"decoding": 0.5}, 2e-3),
        (Kernel("prefill_attention", "fp16", flops=3.76e11), {"core": 2e-3}, 3e-3),
        (Kernel("decode_attention", "fp16", flops=3.76e11), {"half_rows": 16}, 1e-3),
        (Kernel("elementwise", "fp32", bytes=1.6e9), {}, 1e-3),
        (Kernel("elementwise", "fp32", bytes=1.6e9), {"memory": 0.5}, 2e-3),
        (Kernel("decode_attention", "fp16", cache=1.6e9), {"memory": 0.5, "cache": 0.5}, 4e-3),
        (Kernel("elementwise", "fp32", bytes=1.6e9, count=3), {}, 3e-3),
    ],
)
def test_what_each_constant_does(kernel, changed, seconds):
    assert priced(kernel, **changed).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(("sharpness", "times"), [(1, 2.0), (2, sqrt(2)), (inf, 1.0)])
def test_the_corner_of_the_roofline(sharpness, times):
    even = Kernel("gemm", "fp16", flops=3.76e11, bytes=1.6e9)
    made = priced(even, sharpness=sharpness)
    assert made.seconds == pytest.approx(times * 1e-3, rel=0.01)
    assert made.compute == pytest.approx(made.memory)


@pytest.mark.parametrize(
    ("kernel", "bound"),
    [
        (gemm(8192, 8192, 8192, "fp16"), "compute"),
        (gemm(1, 8192, 8192, "fp16"), "memory"),
        (decode_attention(1, 1 << 16, 8, (128, 128), cache=1e9, form="fp16"), "cache"),
        (decode_attention(512, 1 << 16, 128, (576, 512), cache=1e6, form="fp16"), "attention"),
        (elementwise(10), "launch"),
    ],
)
def test_what_bounds_a_kernel_with_the_fitted_constants(kernel, bound):
    assert Price(CHIP, STACK).kernel(kernel).bound == bound


def test_a_launch_is_the_chips_own_where_a_source_states_it():
    assert priced(elementwise(0), launch=7e-6).launch == pytest.approx(7e-6)
    own = Duration(value=3.0, unit="us", confidence="measured", source="a test")
    stated = msgspec.structs.replace(CHIP, launch=own)
    assert priced(elementwise(0), stated, launch=7e-6).launch == pytest.approx(3e-6)


@pytest.mark.parametrize(
    ("chip", "kernel", "names"),
    [
        ("kunlun-p800", elementwise(1000), "memory bandwidth of"),
        ("ascend-910c", gemm(8, 8, 8, "fp8"), "fp8 peak of .*: the chip has no fp8"),
    ],
)
def test_a_figure_that_no_source_states_is_named_and_never_guessed(chip, kernel, names):
    with pytest.raises(Unknown, match=names):
        Price(catalog.load(chip), STACK).kernel(kernel)


@pytest.mark.parametrize(
    ("time", "names"),
    [
        (Time(compute=1), ("compute",)),
        (Time(attention=1), ("compute", "attention")),
        (Time(memory=1), ("memory",)),
        (Time(cache=1), ("memory", "cache")),
        (Time(launch=1), ("launch",)),
        (Time(host=1), ("host", "step")),
        (Time(link=1), ("link",)),
        (Time(latency=1), ("latency",)),
    ],
)
def test_each_part_is_as_uncertain_as_its_constants(time, names):
    found = msgspec.structs.replace(IDEAL, **{name: Constant(1.0, 0.1) for name in names})
    assert Price(CHIP, STACK, found).spread(time) == pytest.approx(0.1 * sqrt(len(names)))


def test_parts_that_err_apart_make_the_sum_surer_than_each():
    price = Price(CHIP, STACK, msgspec.structs.replace(IDEAL, compute=Constant(1, 0.2), memory=Constant(1, 0.2)))
    assert price.spread(Time(compute=1, memory=1)) == pytest.approx(0.2 / sqrt(2))


def test_a_range_of_the_chips_own_figures_widens_the_answer():
    price = Price(CHIP, STACK, IDEAL)
    assert price.spread(Time(link=1)) == 0
    assert price.spread(Time(link=1), link=(100e9, 200e9)) == pytest.approx(0.6931 / sqrt(12), rel=1e-3)


def test_an_interval_holds_four_of_five():
    made = interval(100, 0.1)
    assert (made.value, made.low, made.high) == pytest.approx((100, 100 * exp(-Z80 / 10), 100 * exp(Z80 / 10)))
    assert interval(100, 0.0) == Interval(100, 100, 100)


@pytest.mark.parametrize(("share", "seconds"), [(0, 5), (0.5, 4), (1, 3)])
def test_a_share_of_the_shorter_stream_hides(share, seconds):
    long, short = Time(compute=3), Time(link=2)
    assert overlapped(long, short, share).seconds == overlapped(short, long, share).seconds == seconds


def test_times_add_part_by_part():
    assert together([Time(compute=1, host=2), Time(compute=3)]) == Time(compute=4, host=2)
    assert together([]) == Time()
    assert Time(compute=1, latency=2).times(3) == Time(compute=3, latency=6)


def test_a_new_chip_is_surer_of_nothing():
    new = constants("nobody", "Nobody")[0]
    for name in ("compute", "memory", "link"):
        assert getattr(new, name).spread >= getattr(constants("nvidia-h100", "NVIDIA")[0], name).spread
