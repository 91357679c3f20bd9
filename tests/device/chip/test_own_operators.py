"""The operators of xinqiao.ops on a chip: the CPU's results to the bit, with gradients, each counted as one."""

import pytest
import torch

from xinqiao.chips.support import support
from xinqiao.ops import moe
from xinqiao.ops.cache import NsaCache
from xinqiao.ops.compress import Compression
from xinqiao.ops.dsa import dsa_attention, dsa_index
from xinqiao.ops.linear import linear_int8
from xinqiao.ops.nsa import Branch, nsa_attention, sequences
from xinqiao.ops.reference import nsa as reference
from xinqiao.ops.rules import Choosing

pytestmark = pytest.mark.filterwarnings("ignore:.* does not take")  # sizes that vendors' kernels have not


def nsa(q, k, v, gates):
    rule = Choosing(blocks=4)
    rows = [x.unfold(1, rule.length, rule.stride).mean(-1) for x in (k, v)]
    return nsa_attention(q, Branch(*rows), Branch(k, v), Branch(k, v), gates.sigmoid(), rule=rule, tokens=16)


def dsa(q, latent, index, keys, weights):
    choice = dsa_index(index.detach(), keys.detach(), weights.detach(), top_k=5)
    return dsa_attention(q, latent, choice, d_v=16)


def experts(x, logits, gate_up, down):
    weights, chosen = moe.route(logits, top_k=2)
    return moe.experts(x, weights, chosen, gate_up, down)


def grouped(x, weight, bias):
    return moe.grouped_linear(x, weight, torch.tensor([2, 2, 7], device=x.device), bias)


def int8(x, codes, scale):
    return linear_int8(x, (codes.detach() * 40).to(torch.int8), scale.detach().abs())


CASES = [  # function, shapes of its arguments, operators of one forward pass and of its backward pass
    (nsa, [(1, 150, 4, 16), (1, 150, 2, 16), (1, 150, 2, 16), (1, 150, 4, 3)],
     {"nsa_compressed": 1, "nsa_selected": 1, "nsa_window": 1, "nsa_backward": 3}),
    (dsa, [(1, 20, 2, 32), (1, 20, 32), (1, 20, 2, 16), (1, 20, 16), (1, 20, 2)],
     {"dsa_index": 1, "dsa_attention": 1, "dsa_attention_backward": 1}),
    (experts, [(9, 32), (9, 4), (4, 32, 32), (4, 32, 16)], {"moe_choose": 1, "experts": 1, "experts_backward": 1}),
    (grouped, [(8, 32), (3, 16, 32), (3, 16)], {"grouped_linear": 1, "grouped_linear_backward": 1}),
    (int8, [(5, 64), (48, 64), (48,)], {"linear_int8": 1, "linear_int8_backward": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "shapes", "operators"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_the_same_as_on_the_cpu(function, shapes, operators, device, counted):
    results = []
    for where in ("cpu", device):
        torch.manual_seed(0)
        arguments = [torch.randn(shape).to(where).requires_grad_() for shape in shapes]
        counted()
        out = function(*arguments)
        out.square().sum().backward()
        found = {name.removeprefix("xinqiao::"): n for name, n in counted().items() if name.startswith("xinqiao::")}
        assert found == (operators if where == device else {})
        results.append([out.detach().cpu(), *(t.grad.cpu() for t in arguments if t.grad is not None)])
    for expected, found in zip(*results, strict=True):
        assert torch.equal(expected, found)


def test_without_gradients_the_branches_are_one_operator(device, counted):
    arguments = [torch.randn(shape) for shape in CASES[0][1]]
    meant = nsa(*arguments)
    counted()
    found = nsa(*(t.to(device) for t in arguments))
    assert torch.equal(found.cpu(), meant)
    assert {n for n in counted() if n.startswith("xinqiao::")} == {"xinqiao::nsa_forward"}


def test_the_reference_runs_on_the_device_itself(device, session):
    """Operator by operator, choices included; they need fp64, which not every chip has."""
    if support(session.chip, "aten::mul.Tensor", "float64").state == "refused":
        pytest.skip("this chip refuses fp64")
    rule = Choosing(8, 4, 16, 4)
    q, k, v = torch.randn(70, 4, 16), torch.randn(rule.keys(70), 2, 16), torch.randn(rule.keys(70), 2, 16)
    rows = sequences([70], [len(k)])
    meant = reference.compressed(q, k, v, rows, rule, 0.25)
    found = reference.compressed(*(t.to(device) for t in (q, k, v)), rows, rule, 0.25)
    for a, b in zip(meant, found, strict=True):
        assert torch.equal(a, b.cpu())


def decoded(where):
    torch.manual_seed(0)
    rule = Choosing(blocks=4)
    means = Compression(16, rule, kind="mean")
    cache = NsaCache((means, means), rule, 256)
    rows = [torch.randn(2, 100, 2, 16).to(where) for _ in range(6)]
    cache.append(Branch(*rows[:2]), Branch(*rows[2:4]), Branch(*rows[4:]))
    return cache.attend(torch.randn(2, 1, 4, 16).to(where), torch.rand(2, 1, 4, 3).to(where), tokens=16).cpu()


def test_decoding_from_pages(device):
    assert torch.equal(decoded("cpu"), decoded(device))
