"""One line for a wrong argument: which, its shape, and what was expected."""
# ruff: noqa: E501 - a table

import pytest
import torch

from xinqiao.errors import InputError
from xinqiao.ops import backend, moe

F8, I8 = torch.float8_e4m3fn, torch.int8


def linear(x=(5, 16), weight=(3, 8, 16), ends=(2, 2, 5), dtype=torch.float32, **options):
    return moe.grouped_linear(torch.zeros(x), torch.zeros(weight, dtype=dtype), torch.tensor(ends), **options)


def layer(x=(5, 16), weights=(5, 2), gate_up=(3, 8, 16), down=(3, 16, 4), chosen=None):
    chosen = torch.zeros(5, 2, dtype=torch.int64) if chosen is None else chosen
    return moe.experts(torch.zeros(x), torch.zeros(weights), chosen, torch.zeros(gate_up), torch.zeros(down))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear(x=(5, 15)), "grouped_linear: weight has shape [3, 8, 16], expected [experts, n, k] with experts = 3 (of weight), n = 8 (of weight), k = 15 (of x)"),
        (lambda: linear(weight=(8, 16)), "grouped_linear: weight has shape [8, 16], expected [experts, n, k] with k = 16 (of x)"),
        (lambda: linear(dtype=torch.bfloat16), "grouped_linear: weight is bfloat16, expected float32, float8_e4m3fn, int8"),
        (lambda: linear(ends=(2, 5)), "grouped_linear: offsets has shape [2], expected [experts] with experts = 3 (of weight)"),
        (lambda: linear(ends=(2.0, 3.0, 5.0)), "grouped_linear: offsets is float32, expected int64, int32"),
        (lambda: linear(ends=(2, 1, 5)), "grouped_linear: offsets are [2, 1, 5], expected ends that grow from 0 to at most 5 rows of x"),
        (lambda: linear(ends=(2, 3, 6)), "grouped_linear: offsets are [2, 3, 6], expected ends that grow from 0 to at most 5 rows of x"),
        (lambda: linear(dtype=F8), "grouped_linear: scale is missing, and weights are float8_e4m3fn"),
        (lambda: linear(scale=torch.ones(3, 1, 1)), "grouped_linear: scale is given, and weights are float32"),
        (lambda: linear(dtype=F8, scale=torch.ones(3, 1, 2)), "grouped_linear: scale has shape [3, 1, 2], expected [3, 1, 1]"),
        (lambda: linear(dtype=I8, scale=torch.ones(3, 1)), "grouped_linear: scale has shape [3, 1], expected [3, 8]"),
        (
            lambda: linear(dtype=F8, scale=torch.ones(3, 1, 1), block=(0, 128)),
            "grouped_linear: block is (0, 128), expected its rows and columns",
        ),
        (lambda: layer(weights=(5, 3)), "experts: chosen has shape [5, 2], expected [tokens, top_k] with tokens = 5 (of x), top_k = 3 (of weights)"),
        (lambda: layer(gate_up=(3, 10, 16)), "experts: gate_up has shape [3, 10, 16], expected [experts, 2 · inner, hidden] with inner = 4 (of down)"),
        (lambda: layer(chosen=torch.full((5, 2), 3)), "experts: chosen names experts 3 to 3, expected -1 (none) to 2"),
        (lambda: layer(chosen=torch.full((5, 2), -2)), "experts: chosen names experts -2 to -2, expected -1 (none) to 2"),
        (lambda: moe.route(torch.zeros(2, 6), top_k=2, groups=4), "route: groups = 4, expected a divisor of experts = 6"),
        (lambda: moe.route(torch.zeros(2, 6), top_k=2, groups=3, kept_groups=4), "route: kept_groups = 4, expected 1 to groups = 3"),
        (lambda: moe.route(torch.zeros(2, 6), top_k=3, groups=3), "route: top_k = 3, expected 1 to the 2 experts of the groups that are kept"),
        (lambda: moe.route(torch.zeros(2, 6), top_k=1, scoring="softmx"), "route: no scoring 'softmx'; did you mean softmax; there are sigmoid, softmax"),
        (lambda: moe.route(torch.zeros(6), top_k=1), "route: logits has shape [6], expected [tokens, experts]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("used", ["reference", "cpu"])
def test_errors(call, message, used):
    with backend.use(used), pytest.raises(InputError) as error:
        call()
    assert str(error.value) == message
