"""The operators of xinqiao.ops: their arithmetic and traffic, as one kernel and composed."""

import pytest

from xinqiao.chips import catalog
from xinqiao.cost import roofline
from xinqiao.cost.own import work
from xinqiao.cost.work import Tensor

L, H, D, V = 4096, 16, 192, 128  # one sequence, one key head


def t(*shape, size=2):
    return Tensor(shape, size)


def attention(rows=L, keys=L, d_k=D, d_v=V, heads=H):
    return [t(rows, heads, d_k), t(keys, 1, d_k), t(keys, 1, d_v), t(1, 5, size=8)]


CHOICE = t(L, 1, 16, size=4)
RULE = [32, 16, 64, 16, 1, 2]


@pytest.mark.parametrize(
    ("operator", "inputs", "numbers", "flops"),
    [
        ("linear_block_fp8", [t(2, 3, 256), t(512, 256, size=1), t(4, 2, size=4)], [128, 128], 2 * 6 * 256 * 512),
        ("linear_int8", [t(6, 256), t(512, 256, size=1), t(512, size=4)], [], 2 * 6 * 256 * 512),
        ("grouped_linear", [t(10, 64), t(4, 32, 64), t(4, size=8)], [128, 128], 2 * 10 * 64 * 32),
        ("experts", [t(5, 64), t(5, 2, size=4), t(5, 2, size=8), t(4, 96, 64), t(4, 64, 48)], [], 6 * 10 * 64 * 48),
        # keys seen by the mean query: half of them in training, all of them by one query at the end
        ("dsa_index", [t(1, 64, 4, 128), t(1, 64, 128), t(1, 64, 4)], [8], 2 * 64 * 4 * 128 * 32.5),
        ("dsa_index", [t(1, 1, 4, 128), t(1, 64, 128), t(1, 1, 4)], [8], 2 * 4 * 128 * 64),
        ("dsa_attention", [t(1, 9, 4, 576), t(1, 64, 576), t(1, 9, 8, size=4)], [512], 2 * 9 * 4 * 8 * (576 + 512)),
        ("dsa_attention", [t(1, 9, 4, 576), t(1, 64, 576), t(1, size=8)], [512], 2 * 9 * 4 * 64 * (576 + 512)),
        ("nsa_selected", [*attention(), CHOICE], [64], 2 * L * H * 1024 * (D + V)),
        ("nsa_selected", [*attention(1, L), t(1, 1, 16, size=4)], [64], 2 * H * 1024 * (D + V)),
        ("nsa_window", attention(), [512], 2 * L * H * 512 * (D + V)),
        ("nsa_compressed", attention(1, 255), RULE, 2 * H * 255 * (D + V)),
        ("linear_int8_backward", [t(6, 512), t(512, 256, size=1), t(512, size=4)], [], 2 * 6 * 256 * 512),
        ("grouped_linear_backward", [t(10, 32), t(10, 64), t(4, 32, 64), t(4, size=8)], [128, 128], 4 * 10 * 64 * 32),
        (
            "experts_backward",
            [t(5, 64), t(5, 64), t(5, 2, size=4), t(5, 2, size=8), t(4, 96, 64), t(4, 64, 48)],
            [],
            18 * 10 * 64 * 48,
        ),
        (
            "dsa_attention_backward",
            [
                t(1, 9, 4, 512),
                t(1, 9, 4),
                t(1, 9, 4, 576),
                t(1, 64, 576),
                t(1, 9, 8, size=4),
                t(1, size=8),
                t(1, 9, 4, 512),
                t(1, 9, 4, size=4),
            ],
            [],
            5 * 9 * 4 * 8 * (576 + 512),
        ),
        ("moe_choose", [t(7, 64)], [4, 1, 1], 0),
        ("nobody_knows", [t(4, 4)], [], 0),
    ],
)
def test_arithmetic(operator, inputs, numbers, flops):
    (found,) = work(operator, inputs, numbers)
    assert found.flops == flops


def test_backward_is_five_products_for_two():
    back = [t(L, H, V), *attention()[:3], t(L, H, V), t(L, H, size=4), t(1, 5, size=8)]
    for forward, inputs, numbers in (
        (*work("nsa_selected", [*attention(), CHOICE], [64]), [*back, CHOICE], [0, 64]),
        (*work("nsa_window", attention(), [512]), back, [512, 64]),
        (*work("nsa_compressed", attention(L, 255), RULE), [back[0], *attention(L, 255)[:3], *back[4:]], [*RULE, 0, 0]),
    ):
        (found,) = work("nsa_backward", inputs, numbers)
        assert found.name == f"{forward.name}_backward"
        assert found.flops == 2.5 * forward.flops
        assert found.sizes == forward.sizes


def test_one_kernel_reads_no_more_than_it_attends_to():
    """Decode: 16 blocks of 64 tokens, not all of 64k."""
    (found,) = work("nsa_selected", [*attention(1, 65536), t(1, 1, 16, size=4)], [64])
    assert found.read == H * D * 2 + 1024 * (D + V) * 2


def test_composed_writes_and_reads_scores():
    scores = 4 * L * H * L
    assert work("nsa_window", attention(), [512])[0].composed == 4 * scores


def test_three_branches_at_once_are_the_three_branches():
    q, k, v, rows = attention()
    _, ck, cv, fewer = attention(L, 255)
    alone = [
        *work("nsa_compressed", [q, ck, cv, fewer], RULE),
        *work("nsa_selected", [q, k, v, rows, CHOICE], [64]),
        *work("nsa_window", [q, k, v, rows], [512]),
    ]
    assert work("nsa_forward", [q, ck, cv, k, v, k, v, t(L, H, 3), fewer, rows], [*RULE, 512]) == alone


@pytest.mark.parametrize(
    ("chip", "operator", "dtype", "inputs", "numbers", "kernel", "broken"),
    [
        ("910b", "nsa_selected", "bfloat16", [*attention(), CHOICE], [64], "npu_nsa_select_attention", ()),
        ("910b4", "nsa_selected", "float16", [*attention(), CHOICE], [64], "npu_nsa_select_attention", ()),
        ("910b", "nsa_selected", "float32", [*attention(), CHOICE], [64], "",
         ("float32 (it takes float16, bfloat16)",)),
        ("910b", "nsa_selected", "bfloat16", [*attention(d_k=128), CHOICE], [64], "", ("d_k 128 (it takes 192)",)),
        ("910b", "nsa_selected", "bfloat16", [*attention(heads=64), CHOICE], [64], "", ("group 64 (at most 32)",)),
        ("910b", "nsa_selected", "bfloat16", [*attention(d_v=64), CHOICE], [32], "",
         ("d_v 64 (it takes 128)", "block 32 (it takes 64)")),
        ("910c", "nsa_selected", "bfloat16", [*attention(), CHOICE], [64], "", ()),
        ("950pr", "nsa_selected", "bfloat16", [*attention(), CHOICE], [64], "", ()),
        *[
            (chip, "dsa_index", "bfloat16", [t(1, 1, 64, 128), t(1, L, 128), t(1, 1, 64)], [2048],
             "npu_lightning_indexer", ())
            for chip in ("910b", "910c", "950dt")
        ],
        ("910c", "dsa_index", "bfloat16", [t(1, 1, 64, 64), t(1, L, 64), t(1, 1, 64)], [4096], "",
         ("d_k 64 (it takes 128)", "chosen 4096 (at most 2048)")),
        ("h200", "dsa_attention", "bfloat16", [t(1, 9, 64, 576), t(1, 64, 576), t(1, 9, 8, size=4)], [512],
         "flash_mla_sparse_fwd", ()),
        ("a100", "dsa_attention", "bfloat16", [t(1, 9, 64, 576), t(1, 64, 576), t(1, 9, 8, size=4)], [512], "", ()),
        ("h200", "linear_int8", "bfloat16", [t(6, 256), t(512, 256, size=1), t(512, size=4)], [], "", ()),
    ],
)  # fmt: skip
def test_the_vendors_kernel_and_its_limits(chip, operator, dtype, inputs, numbers, kernel, broken):
    cost, (fit,) = roofline.own(roofline.price(catalog.load(chip)), operator, dtype, inputs, [inputs[0]], numbers)
    assert (fit.kernel.name if fit.kernel else "") == kernel
    assert fit.broken == broken
    assert bool(fit.missed) == bool(broken)
    assert cost.seconds > 0


def test_the_kernel_is_faster_than_its_parts():
    inputs = [*attention(), CHOICE]
    whole, parts = (
        roofline.own(roofline.price(catalog.load("910b")), "nsa_selected", dtype, inputs, [inputs[0]], [64])[0]
        for dtype in ("bfloat16", "float32")
    )
    assert parts.bytes > 10 * whole.bytes
    assert parts.seconds > whole.seconds
