"""The router: worked examples, DeepSeek-V3's rule in float64, and the same choice bit for bit at every level."""

import pytest
import torch

from xinqiao.native.processor import levels
from xinqiao.ops import backend, moe
from xinqiao.ops.cpu import moe as cpu
from xinqiao.ops.reference import moe as reference

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("used", ["reference", "cpu"])
@pytest.mark.parametrize(
    ("logits", "bias", "options", "expected"),
    [
        ([0, 3, 1, 2], None, {"top_k": 2}, [1, 3]),
        ([1, 2, 2, 2], None, {"top_k": 2}, [1, 2]),  # ties: the lower index
        ([0, 3, 1, 2], [0, -1, 0, 0.0], {"top_k": 2}, [3, 2]),  # the bias chooses
        ([0, NAN, 1, 2], None, {"top_k": 2}, [0, 1]),  # as if all scores were 0
        ([0, 3, 1, 2], [0, 0, NAN, 0], {"top_k": 3}, [0, 1, 2]),
        ([90, 0, 91, -90], None, {"top_k": 2}, [0, 2]),  # both sigmoids are 1
        ([90, 0, 91, -90], None, {"top_k": 2, "scoring": "softmax"}, [2, 0]),  # the logits themselves
        ([0, 1, INF, 1], None, {"top_k": 2, "scoring": "softmax"}, [2, 1]),
        # Without a bias the group with the highest score is kept, with one that with the highest two.
        ([3, -9, 2, 2], None, {"top_k": 2, "groups": 2}, [0, 1]),
        ([3, -9, 2, 2], [0, 0, 0, 0.0], {"top_k": 2, "groups": 2}, [2, 3]),
        ([1, 1, 1, 1], [0, 0, 0, 0.0], {"top_k": 2, "groups": 2}, [0, 1]),
        ([1, 2, 3, 4], None, {"top_k": 3, "groups": 2, "kept_groups": 2}, [3, 2, 1]),
        ([1, 2, 3, 4], [0, -INF, -INF, -INF], {"top_k": 2, "groups": 2}, [0, 1]),
        ([1, 2, 3, 4], [-INF, -INF, -INF, -INF], {"top_k": 2, "groups": 4, "kept_groups": 2}, [0, 1]),
    ],
)
def test_choices(logits, bias, options, expected, used):
    given = None if bias is None else torch.tensor(bias)
    with backend.use(used):
        _, chosen = moe.route(torch.tensor([logits], dtype=torch.float32), given, **options)
    assert chosen.tolist() == [expected]


def deepseek(logits, bias, top_k, groups, kept_groups, scaling):
    """One token by the definition, in float64 and in Python's lists."""
    scores = [1 / (1 + torch.tensor(-v, dtype=torch.float64).exp().item()) for v in logits]
    biased = [s + b for s, b in zip(scores, bias, strict=True)]
    size = len(logits) // groups
    worth = [sum(sorted(biased[g * size : (g + 1) * size])[-2:]) for g in range(groups)]
    kept = sorted(range(groups), key=lambda g: -worth[g])[:kept_groups]
    chosen = sorted((e for g in kept for e in range(g * size, (g + 1) * size)), key=lambda e: -biased[e])[:top_k]
    total = sum(scores[e] for e in chosen)
    return [scores[e] / total * scaling for e in chosen], chosen


def test_it_is_deepseek_v3_s():
    torch.manual_seed(0)
    logits, bias = torch.randn(64, 256), torch.randn(256) * 0.1
    weights, chosen = moe.route(logits, bias, top_k=8, groups=8, kept_groups=4, scaling=2.5)
    for i in range(64):  # random scores lie further apart than fp32 rounds
        expected, experts = deepseek(logits[i].tolist(), bias.tolist(), 8, 8, 4, 2.5)
        assert chosen[i].tolist() == experts
        torch.testing.assert_close(weights[i].tolist(), expected, rtol=1e-5, atol=0)


def test_softmax_top_k():
    torch.manual_seed(0)
    logits = torch.randn(32, 60)
    weights, chosen = moe.route(logits, top_k=4, scoring="softmax", normalize=False)
    expected = logits.softmax(-1).topk(4)
    assert torch.equal(chosen, expected.indices)
    torch.testing.assert_close(weights, expected.values)


def awkward(case):
    """Logits and bias with ties, infinities, NaN, and magnitudes from tiny to beyond the ends of the exponential."""
    generator = torch.Generator().manual_seed(case)

    def pick(count):
        return int(torch.randint(count, (), generator=generator))

    groups = (1, 1, 2, 4, 8)[pick(5)]
    experts = groups * (1 + pick(40))
    logits = torch.randn(1 + pick(3), experts, generator=generator) * (1e-3, 1, 10, 200)[pick(4)]
    bias = torch.randn(experts, generator=generator) * 0.3 if pick(2) else None
    if pick(3) == 0:  # few values, so that many are equal
        logits, bias = logits.round(), None if bias is None else bias.round()
    if pick(4) == 0:
        logits[0, pick(experts)] = (NAN, INF, -INF)[pick(3)]
    if pick(8) == 0:
        logits = logits.bfloat16()
    kept = 1 + pick(groups)
    top_k = 1 + pick(min(8, experts // groups * kept))
    return logits, bias, top_k, groups, kept, ("sigmoid", "softmax")[pick(2)]


@pytest.mark.parametrize("at", levels())
def test_a_thousand_choices_are_the_reference_s(at):
    differing = [
        case
        for case in range(1000)
        if not torch.equal(cpu.choose(*awkward(case), at=at), reference.choose(*awkward(case)))
    ]
    assert differing == []


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("scoring", moe.SCORINGS)
def test_gradients_of_weights(scoring, normalize):
    torch.manual_seed(0)
    logits = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(8) * 0.1
    options = {"top_k": 3, "groups": 4, "kept_groups": 2, "scoring": scoring, "normalize": normalize, "scaling": 2.5}
    assert torch.autograd.gradcheck(lambda x: moe.route(x, bias, **options)[0], logits)


def test_weights_of_tiny_scores_are_finite():
    weights, _ = moe.route(torch.full((1, 4), -200.0), top_k=2)
    assert weights.isfinite().all()


@pytest.mark.parametrize(
    ("chosen", "loads", "bias"),
    [
        ([[0, 1], [0, 2]], [2, 1, 1, 0], [-0.1, 0, 0, 0.1]),
        ([[0, -1], [-1, -1]], [1, 0, 0, 0], [-0.1, 0.1, 0.1, 0.1]),
        ([[0, 1], [2, 3]], [1, 1, 1, 1], [0, 0, 0, 0]),
    ],
)
def test_the_bias_follows_the_load(chosen, loads, bias):
    found = moe.load(torch.tensor(chosen), 4)
    assert found.tolist() == loads
    torch.testing.assert_close(moe.update_bias(torch.zeros(4), found, 0.1), torch.tensor(bias, dtype=torch.float32))


def test_updates_of_the_bias_even_out_the_load():
    torch.manual_seed(0)
    logits, bias = torch.randn(2048, 16) + torch.linspace(-2, 2, 16), torch.zeros(16)
    before = moe.load(moe.route(logits, bias, top_k=2)[1], 16)
    for _ in range(300):
        bias = moe.update_bias(bias, moe.load(moe.route(logits, bias, top_k=2)[1], 16), 2e-3)
    after = moe.load(moe.route(logits, bias, top_k=2)[1], 16)
    assert before.max() > 2 * 256
    assert after.max() < 1.1 * 256 and after.min() > 0.9 * 256  # 256: the mean
