"""Seconds, FLOPs and bytes of single operators."""

import pytest

from xinqiao.chips import catalog
from xinqiao.cost import roofline
from xinqiao.cost.roofline import Tensor
from xinqiao.cost.work import flops

CHIP = roofline.price(catalog.load("ascend-910c"))
UNKNOWN = roofline.price(catalog.load("kunlun-p800"))
REACHED = CHIP.constants


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "flag", "expected"),
    [
        ("aten::mm", [(4, 8), (8, 16)], [(4, 16)], False, 2 * 4 * 8 * 16),
        ("aten::mm.out", [(4, 8), (8, 16), (4, 16)], [], False, 2 * 4 * 8 * 16),
        ("aten::bmm", [(3, 4, 8), (3, 8, 16)], [(3, 4, 16)], False, 2 * 3 * 4 * 8 * 16),
        ("aten::addmm", [(16,), (4, 8), (8, 16)], [(4, 16)], False, 2 * 4 * 8 * 16),
        ("aten::mv", [(4, 8), (8,)], [(4,)], False, 2 * 4 * 8),
        ("aten::linear", [(5, 4, 8), (16, 8)], [(5, 4, 16)], False, 2 * 5 * 4 * 8 * 16),
        ("aten::convolution", [(2, 3, 9, 9), (6, 3, 3, 3)], [(2, 6, 7, 7)], False, 2 * 2 * 6 * 7 * 7 * 27),
        ("aten::convolution", [(2, 3, 5, 5), (3, 4, 3, 3)], [(2, 4, 7, 7)], True, 2 * 2 * 3 * 5 * 5 * 36),
        ("aten::_grouped_mm", [(10, 8), (4, 8, 16), (4,)], [(10, 16)], False, 2 * 10 * 8 * 16),
        ("aten::_scaled_dot_product_flash_attention", [(1, 2, 8, 4)] * 3, [(1, 2, 8, 4)], False, 4 * 2 * 8 * 8 * 4),
        ("aten::_scaled_dot_product_flash_attention", [(1, 2, 8, 4)] * 3, [(1, 2, 8, 4)], True, 4 * 2 * 8 * 4.5 * 4),
        ("aten::_scaled_dot_product_flash_attention_backward", [(1, 2, 8, 4)] * 4, [], False, 10 * 2 * 8 * 8 * 4),
        ("aten::gelu", [(4, 8)], [(4, 8)], False, 0),
        ("aten::nonsense", [], [], False, 0),
    ],
)
def test_arithmetic(operator, inputs, outputs, flag, expected):
    assert flops(operator, inputs, outputs, flag=flag) == expected


def square(n, itemsize=2):
    return Tensor((n, n), itemsize)


def test_a_large_product_is_bound_by_arithmetic():
    cost = roofline.operator(CHIP, "aten::mm", "bfloat16", [square(8192), square(8192)], [square(8192)])
    assert cost.flops == 2 * 8192**3
    assert cost.seconds == pytest.approx(cost.flops / (353.9e12 * REACHED.compute.value), rel=0.05)


def test_an_elementwise_operator_is_bound_by_memory():
    cost = roofline.operator(CHIP, "aten::add.Tensor", "bfloat16", [square(8192)] * 2, [square(8192)])
    assert cost.bytes == 3 * 2 * 8192**2
    assert cost.seconds == pytest.approx(cost.bytes / (1.6e12 * REACHED.memory.value), rel=0.02)


def test_a_tiny_operator_is_its_launch():
    cost = roofline.operator(CHIP, "aten::add.Tensor", "bfloat16", [square(2)] * 2, [square(2)])
    assert cost.seconds == pytest.approx(CHIP.launch, rel=0.01)


def test_what_is_not_known_is_left_out_and_named():
    cost = roofline.operator(UNKNOWN, "aten::add.Tensor", "float16", [square(8192)] * 2, [square(8192)])
    assert cost.seconds == UNKNOWN.launch == UNKNOWN.constants.launch.value
    assert roofline.unknown_figures(UNKNOWN.chip, ["float16", "float32"]) == [
        "peak arithmetic at float32",
        "memory bandwidth",
    ]


@pytest.mark.parametrize(
    ("directions", "rate"),
    [
        ((False, False, False), 1.6e12 * REACHED.memory.value / 2),
        ((True, False, False), 24e9),
        ((False, True, False), 24e9),
        ((False, False, True), 196e9 * REACHED.link.value / 2),
    ],
)
def test_copies(directions, rate):
    from_host, to_host, to_peer = directions
    one = Tensor((10**9,), 1)
    cost = roofline.copy(CHIP, one, one, from_host=from_host, to_host=to_host, to_peer=to_peer)
    assert cost.seconds == pytest.approx(1e9 / rate, rel=0.01)


def test_collectives():
    server = roofline.price(catalog.load("ascend-910b"))  # of eight
    one = roofline.collective(server, "allreduce_", 10**9, 1)
    gather, eight, sixteen = (
        roofline.collective(server, name, 10**9, n)
        for name, n in (("allgather_", 8), ("allreduce_", 8), ("allreduce_", 16))
    )
    assert one == server.launch
    assert eight == pytest.approx(2 * gather, rel=0.01)
    assert sixteen > eight  # an eighth of the bytes leaves the server meanwhile, after more hops
