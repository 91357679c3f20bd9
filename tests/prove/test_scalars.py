"""What of a program's output is compared, and what is not."""

from math import inf

import pytest

from xinqiao.prove.scalars import apart, lined_up, printed

NAMES = ["cuda", "npu", "NVIDIA H200", "Huawei Ascend 910C", "nccl", "hccl"]


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("step 3 loss 2.5107", [3, 2.5107]),
        ("epoch: 1, acc=93.75%, lr 1e-03", [1, 93.75, 1e-3]),
        ("loss nan", [float("nan")]),
        ("[2026-11-25 03:21:35,123] step 7 loss 0.5", [7, 0.5]),
        ("12.34 ms per step", []),
        ("3.1 it/s, 512 tok/s, 1.5 GB", []),
        ("68.7 of 150.1 GB free", []),
        ("took 12 seconds", []),
        ("elapsed: 12.5", []),
        ("max memory allocated 1234", []),
        (" 45%|####5     | 9/20 [00:01<00:00,  8.21it/s]", []),
        ("train.py:75: FutureWarning: deprecated since 2.4", []),
        ("device cuda:1 loss 4", [4]),
        ("Linear1 has layer2 names", []),
        ("version 2.13", []),
        ("W1125 04:54:41.249000 13318 torch/utils/flop_counter.py:29] triton not found", []),
    ],
)
def test_numbers_of_a_line(line, numbers):
    found = [n for p in printed([line], NAMES) for n in p.numbers]
    assert str([float(n) for n in numbers]) == str(found)


@pytest.mark.parametrize(
    ("original", "port", "pairs", "alone"),
    [
        (["loss 1.0", "loss 2.0"], ["loss 1.0", "loss 2.0"], [0.0, 0.0], 0),
        (["loss 1.0", "loss 2.0"], ["loss 1.0", "loss 2.5"], [0.0, 0.2], 0),
        (["loss 1.0 on cuda:0"], ["loss 1.0 on npu:0"], [0.0], 0),
        (["loss 1.0", "acc 2"], ["acc 2", "loss 1.0"], [0.0, 0.0], 0),
        (["loss 1.0", "acc 2"], ["acc 2"], [0.0], 1),
        (["loss 1.0"], ["loss nan"], [float("inf")], 0),
        (["loss nan"], ["loss nan"], [0.0], 0),
    ],
)
def test_lines_pair_up_by_their_words(original, port, pairs, alone):
    found, left = lined_up(printed(original, NAMES), printed(port, NAMES))
    assert [p.distance for p in found] == pytest.approx(pairs)
    assert len(left) == alone


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(1, 1, 0), (0, 0, 0), (1, 2, 0.5), (-1, 1, 2), (0, 1, 1), (inf, inf, 0), (1, inf, inf)],
)  # fmt: skip
def test_apart(a, b, expected):
    assert apart(a, b) == expected
