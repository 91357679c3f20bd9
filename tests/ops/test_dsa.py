"""Attention over a latent cache at chosen tokens: against masked dense attention in float64, on every level."""

import pytest
import torch

from tests.ops.dsa_oracle import Bound, counts, dense, everything, in_pages, indexer
from xinqiao.errors import InputError
from xinqiao.native import processor
from xinqiao.ops import backend
from xinqiao.ops.cpu import dsa as cpu
from xinqiao.ops.dsa import dsa_attention, dsa_index
from xinqiao.ops.reference import dsa as reference

LEVELS = processor.levels()
CASES = {  # batch, length, heads, d, d_v, tokens, chosen
    "DeepSeek's sizes": (1, 2, 128, 576, 512, 300, 150),
    "a few queries": (2, 5, 16, 80, 64, 90, 40),
    "odd sizes": (1, 3, 5, 71, 33, 130, 129),
    "one of everything": (1, 1, 1, 1, 1, 1, 1),
    "values are whole rows": (2, 1, 7, 48, 48, 70, 9),
    "more heads than a task has": (1, 2, 130, 64, 32, 65, 64),
    "more places than tokens": (1, 2, 3, 32, 16, 20, 33),
}


def some(batch, length, heads, d, tokens, chosen, dtype=torch.float32):
    """q, latent and a choice with unused places, in no order."""
    g = torch.Generator().manual_seed(0)
    q, latent = (torch.randn(*s, generator=g).to(dtype) for s in ((batch, length, heads, d), (batch, tokens, d)))
    rows = [torch.randperm(max(tokens, chosen), generator=g)[:chosen] for _ in range(batch * length)]
    choice = torch.stack(rows).view(batch, length, chosen).to(torch.int32)
    choice[choice >= tokens] = -1
    if chosen > 8:
        choice[..., 3] = -1
    return q, latent, choice


def made(case, dtype):
    batch, length, heads, d, d_v, tokens, chosen = CASES[case]
    return (*some(batch, length, heads, d, tokens, chosen, dtype), d_v, d**-0.5, torch.zeros(batch, dtype=torch.int64))


def within(found, exact, bound):
    assert found.isfinite().all()
    worst = ((found.double() - exact).abs() - bound).max()
    assert worst <= 0, worst


@pytest.mark.parametrize("case", CASES)
def test_the_reference_is_masked_dense_attention(case):
    q, latent, choice, d_v, scale, start = made(case, torch.float64)
    out, lse = reference.dsa_attention(q, latent, choice, None, start, d_v, scale)
    true, true_lse = dense(q, latent, choice, d_v, scale)
    torch.testing.assert_close(out, true, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(lse, true_lse, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("at", LEVELS)
@pytest.mark.parametrize("case", CASES)
def test_kernels_are_within_what_rounding_allows(case, at, dtype):
    q, latent, choice, d_v, scale, start = made(case, dtype)
    bound = Bound(q, latent, choice, d_v, scale, dtype)
    out, lse = cpu.dsa_attention(q, latent, choice, None, start, d_v, scale, at=at)
    assert out.dtype == dtype
    within(out, bound.out, bound.forward())
    within(lse, bound.lse, bound.part * 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("at", LEVELS)
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_kernels_are_within_what_rounding_allows(case, at, dtype):
    q, latent, choice, d_v, scale, start = made(case, dtype)
    bound = Bound(q, latent, choice, d_v, scale, dtype)
    d_out = torch.randn(bound.out.shape, generator=torch.Generator().manual_seed(2)).to(dtype)
    none = torch.zeros_like(bound.lse)
    exact = reference.dsa_attention_backward(
        (d_out.double(), none), q.double(), latent.double(), choice, None, start, (bound.out, bound.lse), scale
    )
    results = (bound.out.to(dtype), bound.lse.float())
    found = cpu.dsa_attention_backward((d_out, none.float()), q, latent, choice, None, start, results, scale, at=at)
    for gradient, true, limit in zip(found, exact, bound.backward(d_out), strict=True):
        assert gradient.dtype == dtype
        within(gradient, true, limit)


@pytest.mark.parametrize("chosen", [True, False])
def test_gradients_of_the_reference_by_differences(chosen):
    q, latent, choice = some(2, 3, 2, 6, 7, 4, torch.float64)
    operands = [x.requires_grad_() for x in (q, latent)]

    def attend(q, latent):
        return torch.ops.xinqiao.dsa_attention(
            q, latent, choice if chosen else None, None, torch.tensor([4, 1]), 5, 0.3
        )  # out and lse

    assert torch.autograd.gradcheck(attend, operands)


@pytest.mark.parametrize("name", ["reference", "cpu"])
@pytest.mark.parametrize("start", [0, 40, [3, 60]])
def test_without_a_choice_every_earlier_token_counts(name, start):
    q, latent, _ = some(2, 5, 6, 40, 90, 1)
    starts = [start, start] if isinstance(start, int) else start
    choice = torch.cat([everything(1, 5, 90, s) for s in starts])
    bound = Bound(q, latent, choice, 32, 40**-0.5, torch.float32)
    with backend.use(name):
        first = start if isinstance(start, int) else torch.tensor(start)
        out = dsa_attention(q, latent, None, d_v=32, start=first)
    within(out, bound.out, bound.forward())


def test_a_choice_of_all_tokens_is_no_choice():
    """Where there are no more than top_k tokens, the indexer has nothing to compute."""
    q, k, weights, q_scale, k_scale = indexer(2, 6, 4, 64, 30)
    choice = dsa_index(q, k.float() * torch.nan, weights, q_scale, k_scale, top_k=40, start=24)
    assert torch.equal(choice[..., :30], everything(2, 6, 30, 24))
    assert (choice[..., 30:] == -1).all()
    q, latent, _ = some(2, 6, 3, 24, 30, 1)
    torch.testing.assert_close(
        dsa_attention(q, latent, choice, d_v=16), dsa_attention(q, latent, None, d_v=16, start=24)
    )


@pytest.mark.parametrize("name", ["reference", "cpu"])
@pytest.mark.parametrize("page", [1, 16, 64])
def test_pages_of_latents(name, page):
    q, latent, choice = some(2, 4, 5, 48, 150, 70)
    cache, table = in_pages(latent, page)
    d_out = torch.randn(2, 4, 5, 32)
    found = []
    for operand, pages in ((latent, None), (cache, table)):
        leaves = [x.clone().requires_grad_() for x in (q, operand)]
        with backend.use(name):
            out = dsa_attention(*leaves, choice, d_v=32, table=pages)
            out.backward(d_out)
        found.append((out, *(x.grad for x in leaves)))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])
    torch.testing.assert_close(in_pages(found[0][2], page)[0], found[1][2])


def test_a_page_of_two_sequences_gets_the_gradient_of_both():
    q, latent, choice = some(2, 3, 4, 24, 32, 20)
    latent[1, :16] = latent[0, :16]
    apart = [x.clone().requires_grad_() for x in (q, latent)]
    dsa_attention(*apart, choice, d_v=16).square().sum().backward()
    pages = torch.cat([latent[0].view(2, 16, 24), latent[1, 16:][None]])
    shared = [x.clone().requires_grad_() for x in (q, pages)]
    dsa_attention(*shared, choice, d_v=16, table=torch.tensor([[0, 1], [0, 2]])).square().sum().backward()
    both = apart[1].grad
    torch.testing.assert_close(shared[0].grad, apart[0].grad)
    torch.testing.assert_close(shared[1].grad, torch.stack([both[0, :16] + both[1, :16], both[0, 16:], both[1, 16:]]))


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_what_is_no_token_is_passed_over(name):
    q, latent, _ = some(1, 3, 4, 24, 30, 1)
    choice = torch.tensor([[[2, -1, 30, 7], [-1, -1, -1, 99], [7, 7, 2, -5]]], dtype=torch.int32)
    leaves = [x.requires_grad_() for x in (q, latent)]
    with backend.use(name):
        out = dsa_attention(*leaves, choice, d_v=16)
        out.sum().backward()
    true = dense(q, latent, choice, 16, 24**-0.5)[0].nan_to_num(0)
    torch.testing.assert_close(out.double(), true, rtol=1e-5, atol=1e-5)
    assert (out[0, 1] == 0).all()
    assert (q.grad[0, 1] == 0).all()
    touched = counts(choice, 30).sum((0, 1)) > 0
    assert ((latent.grad[0] != 0).any(-1) == touched).all()


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_not_a_number_spreads_to_those_who_attend_to_it(name):
    q, latent, choice = some(1, 4, 3, 24, 30, 5)
    choice[0] = torch.tensor([[1, 2, 3, 4, 5], [5, 6, 7, 8, 9], [9, 8, 7, 6, 0], [1, 0, 2, 3, 4]])
    latent[0, 5] = torch.nan
    with backend.use(name):
        out = dsa_attention(q, latent, choice, d_v=16)
    assert out[0, :2].isnan().all()
    assert out[0, 2:].isfinite().all()


def test_large_scores_do_not_overflow():
    q, latent, choice = some(1, 2, 4, 24, 30, 20)
    out = dsa_attention(q * 1e4, latent, choice, d_v=16)
    true, _ = dense((q * 1e4).double(), latent, choice, 16, 24**-0.5)
    torch.testing.assert_close(out.double(), true, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_and_parts(threads):
    """One query of few heads and many tokens: the tokens are cut in parts."""
    q, latent, _ = some(1, 1, 20, 40, 5000, 1)
    bound = Bound(q, latent, everything(1, 1, 5000, 4999), 32, 40**-0.5, torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        out = dsa_attention(q, latent, None, d_v=32, start=4999)
        choice = torch.arange(5000, dtype=torch.int32).view(1, 1, -1)
        leaves = [x.clone().requires_grad_() for x in (q, latent)]
        dsa_attention(*leaves, choice, d_v=32).sum().backward()
    finally:
        torch.set_num_threads(before)
    within(out, bound.out, bound.forward())
    for leaf, limit in zip(leaves, bound.backward(torch.ones(1, 1, 20, 32)), strict=True):
        assert leaf.grad.isfinite().all()
        assert (leaf.grad.abs().double() <= limit / bound.part).all()


def test_half_precision_is_that_of_fp32_rounded():
    q, latent, choice = some(1, 2, 4, 24, 30, 20, torch.float16)
    out = dsa_attention(q, latent, choice, d_v=16)
    assert torch.equal(out, dsa_attention(q.float(), latent.float(), choice, d_v=16).half())


def test_a_longer_cache_is_read_where_it_lies():
    q, latent, choice = some(2, 1, 4, 24, 30, 20)
    longer = torch.full((2, 50, 30), torch.nan)
    longer[:, :30, :24] = latent
    assert torch.equal(dsa_attention(q, longer[:, :, :24], choice, d_v=16), dsa_attention(q, latent, choice, d_v=16))


def test_the_dispatcher_has_shapes_and_gradients():
    q, latent, choice = some(2, 3, 4, 24, 30, 20)
    operands = [x.requires_grad_() for x in (q, latent)]
    start, table = torch.tensor([5, 9]), torch.tensor([[1, 0], [0, 1]], dtype=torch.int32)
    for call in ((choice, None, start, 16, 0.2), (None, None, start, 16, 0.2), (choice, table, start, 16, 0.2)):
        torch.library.opcheck(torch.ops.xinqiao.dsa_attention.default, (*operands, *call))
    index = (x.float() for x in indexer(2, 3, 4, 32, 30))  # opcheck multiplies its operands, which fp8 cannot
    torch.library.opcheck(torch.ops.xinqiao.dsa_index.default, (*index, None, start, 8))


def test_compiled_without_a_break():
    q, latent, _ = some(1, 4, 4, 24, 30, 1)
    index = indexer(1, 4, 4, 32, 30)

    def layer(q, latent):
        choice = dsa_index(*index, top_k=6, start=26)
        return dsa_attention(q, latent, choice, d_v=16)

    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(q, latent), layer(q, latent))


OPERANDS = {"q": torch.zeros(2, 3, 4, 16), "latent": torch.zeros(2, 9, 16), "choice": torch.zeros(2, 3, 5).int()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(3, 4, 16)}, "dsa_attention: q has shape [3, 4, 16], expected [batch, length, heads, d]"),
        ({"latent": torch.zeros(2, 9, 8)}, "latent has shape [2, 9, 8], expected [batch, tokens, d] with batch = 2"),
        ({"latent": torch.zeros(2, 9, 16).half()}, "latent is float16, expected float32"),
        ({"choice": torch.zeros(2, 4, 5).int()}, "choice has shape [2, 4, 5], expected [batch, length, n] with"),
        ({"choice": torch.zeros(2, 3, 5)}, "choice is float32, expected int32, int64"),
        ({"d_v": 17}, "d_v is 17, expected 1 to 16, the d of q"),
        ({"choice": None, "start": -3}, "start is -3, expected 0 or more"),
        ({"table": torch.zeros(2, 1)}, "table is float32, expected int32, int64"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(change, message):
    with pytest.raises(InputError) as caught:
        dsa_attention(**OPERANDS | {"d_v": 8} | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
