"""The functions of flash_attn against attention written as loops over the definition, one score at a time."""

import math

import pytest
import torch

from xinqiao.port.substitutes import flash_attn as fa

B, H, D = 2, 4, 8
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3}
SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625])


def sees(i, j, queries, keys, causal, window):
    """The rule as the package's documentation states it."""
    at = i + keys - queries
    left, right = window
    return not (causal and j > at) and (left < 0 or j >= at - left) and (right < 0 or j <= at + right)


def naive(q, k, v, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None):
    """(attention, log-sum-exp) in float64."""
    q, k, v = (t.double() for t in (q, k, v))
    batch, queries, heads, size = q.shape
    keys, group = k.shape[1], heads // k.shape[2]
    scale = softmax_scale or 1 / math.sqrt(size)
    out = torch.zeros(batch, queries, heads, v.shape[-1], dtype=torch.float64)
    sums = torch.full((batch, heads, queries), math.inf, dtype=torch.float64)
    for b in range(batch):
        for h in range(heads):
            for i in range(queries):
                seen = [j for j in range(keys) if sees(i, j, queries, keys, causal, window_size)]
                if not seen:
                    continue
                scores = torch.stack([q[b, i, h] @ k[b, j, h // group] for j in seen]) * scale
                if softcap:
                    scores = softcap * torch.tanh(scores / softcap)
                if alibi_slopes is not None:
                    slope = alibi_slopes[h] if alibi_slopes.dim() == 1 else alibi_slopes[b, h]
                    scores = scores - slope * torch.tensor([abs(i + keys - queries - j) for j in seen])
                sums[b, h, i] = torch.logsumexp(scores, 0)
                weights = torch.softmax(scores, 0)
                out[b, i, h] = sum(w * v[b, j, h // group] for w, j in zip(weights, seen, strict=True))
    return out, sums


def tensors(queries=5, keys=5, heads_k=H, dtype=torch.float64, batch=B):
    torch.manual_seed(0)
    return (
        torch.randn(batch, queries, H, D, dtype=torch.float64).to(dtype),
        torch.randn(batch, keys, heads_k, D, dtype=torch.float64).to(dtype),
        torch.randn(batch, keys, heads_k, D, dtype=torch.float64).to(dtype),
    )


def assert_near(got, expected, dtype=torch.float64):
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=TOLERANCE[dtype])


OPTIONS = [
    {},
    {"softmax_scale": 0.3},
    {"causal": True},
    {"window_size": (1, 1)},
    {"window_size": (2, -1)},
    {"window_size": (-1, 0)},
    {"causal": True, "window_size": (1, 3)},
    {"softcap": 1.5},
    {"softcap": 1.5, "causal": True, "alibi_slopes": SLOPES},
    {"alibi_slopes": SLOPES, "causal": True},
    {"alibi_slopes": torch.stack([SLOPES, SLOPES / 4])},
]
SHAPES = [(5, 5), (2, 5), (5, 2), (1, 7), (3, 1)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("queries", "keys"), SHAPES)
def test_it_is_attention_as_defined(queries, keys, options):
    q, k, v = tensors(queries, keys)
    assert_near(fa.flash_attn_func(q, k, v, **options), naive(q, k, v, **options)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_low_precision_stays_near_the_float64_result(options, dtype):
    q, k, v = tensors(6, 9, 2, dtype)
    got = fa.flash_attn_func(q, k, v, **options)
    assert got.dtype == dtype
    assert_near(got, naive(q, k, v, **options)[0], dtype)


@pytest.mark.parametrize("heads_k", [1, 2, 4])
def test_grouped_queries_share_keys(heads_k):
    q, k, v = tensors(heads_k=heads_k)
    assert_near(fa.flash_attn_func(q, k, v, causal=True), naive(q, k, v, causal=True)[0])


def test_the_causal_mask_is_aligned_to_the_bottom_right():
    q, k, v = tensors(5, 2)
    out = fa.flash_attn_func(q, k, v, causal=True)
    assert torch.all(out[:, :3] == 0)  # these queries see nothing
    torch.testing.assert_close(out[:, 3], v[:, 0])  # this one sees the first key alone


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients_are_those_of_the_definition(options):
    mine = [t.requires_grad_() for t in tensors(4, 2)]
    theirs = [t.requires_grad_() for t in tensors(4, 2)]
    fa.flash_attn_func(*mine, **options).square().sum().backward()
    naive(*theirs, **options)[0].square().sum().backward()
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_log_sum_exp_is_returned_on_request(options):
    q, k, v = tensors(5, 3)
    out, sums, nothing = fa.flash_attn_func(q, k, v, **options, return_attn_probs=True)
    expected = naive(q, k, v, **options)
    assert_near(out, expected[0])
    assert_near(sums, expected[1])
    assert nothing.numel() == 0


def test_packed_forms_are_the_same():
    q, k, v = tensors()
    plain = fa.flash_attn_func(q, k, v, 0.0, None, True)
    assert torch.equal(fa.flash_attn_qkvpacked_func(torch.stack([q, k, v], 2), 0.0, None, True), plain)
    assert torch.equal(fa.flash_attn_kvpacked_func(q, torch.stack([k, v], 2), causal=True), plain)


def test_dropout_drops_weights_and_keeps_their_mean():
    q, k, _ = tensors(4, 64, batch=1)
    torch.manual_seed(1)
    one = torch.ones(1, 64, H, D, dtype=torch.float64)
    outs = torch.stack([fa.flash_attn_func(q, k, one, dropout_p=0.5) for _ in range(400)])
    assert outs.std() > 0
    torch.testing.assert_close(outs.mean(0), torch.ones_like(q), rtol=0, atol=0.06)
    with pytest.raises(NotImplementedError, match="dropped weights"):
        fa.flash_attn_func(q, k, one, dropout_p=0.5, return_attn_probs=True)


def test_heads_that_do_not_divide_are_refused():
    q, k, v = tensors(heads_k=3)
    with pytest.raises(ValueError, match="4 query heads cannot share 3"):
        fa.flash_attn_func(q, k, v)


LENGTHS = [((3, 5), (3, 5)), ((2, 4), (5, 1)), ((0, 3), (2, 3)), ((2, 1), (0, 6))]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("queries", "keys"), LENGTHS)
def test_sequences_end_to_end(queries, keys, options):
    begins_q, begins_k = (torch.tensor([0, n[0], n[0] + n[1]], dtype=torch.int32) for n in (queries, keys))
    q, k, v = (t[0] for t in tensors(sum(queries), sum(keys), 2, batch=1))
    expected, sums = [], []
    for i, (a, b) in enumerate(zip(q.split(queries), range(2), strict=True)):
        kv = [t.split(keys)[b][None] for t in (k, v)]
        here = dict(options)
        if here.get("alibi_slopes") is not None and here["alibi_slopes"].dim() == 2:
            here["alibi_slopes"] = here["alibi_slopes"][i]
        out, lse = naive(a[None], *kv, **here)
        expected.append(out[0])
        sums.append(lse[0])
    arguments = (q, k, v, begins_q, begins_k, max(queries), max(keys))
    assert_near(fa.flash_attn_varlen_func(*arguments, **options), torch.cat(expected))
    out, lse, _ = fa.flash_attn_varlen_func(*arguments, **options, return_attn_probs=True)
    assert_near(out, torch.cat(expected))
    assert_near(lse, torch.cat(sums, -1))
    kvpacked = fa.flash_attn_varlen_kvpacked_func(q, torch.stack([k, v], 1), *arguments[3:], **options)
    assert_near(kvpacked, torch.cat(expected))


def test_sequences_packed_in_one_tensor():
    q, k, v = (t[0] for t in tensors(8, 8, batch=1))
    begins = torch.tensor([0, 3, 8], dtype=torch.int32)
    packed = fa.flash_attn_varlen_qkvpacked_func(torch.stack([q, k, v], 1), begins, 5, causal=True)
    assert torch.equal(packed, fa.flash_attn_varlen_func(q, k, v, begins, begins, 5, 5, causal=True))


def test_keys_in_blocks():
    _, k, v = tensors(keys=8, heads_k=2, batch=1)
    q = tensors(4, batch=1)[0][0]
    begins_q, begins_k = torch.tensor([0, 2, 4]), torch.tensor([0, 3, 8])
    plain = fa.flash_attn_varlen_func(q, k[0], v[0], begins_q, begins_k, 2, 5, causal=True)
    order = torch.tensor([[5, 1, 0], [2, 4, 3]])  # blocks of two, in any order
    blocks = torch.zeros(2, 6, 2, 2, D, dtype=torch.float64)
    for cache, source in zip(blocks, (k[0], v[0]), strict=True):
        for sequence, (begin, end) in enumerate(((0, 3), (3, 8))):
            for position in range(end - begin):
                cache[order[sequence, position // 2], position % 2] = source[begin + position]
    got = fa.flash_attn_varlen_func(q, *blocks, begins_q, begins_k, 2, 5, causal=True, block_table=order)
    assert_near(got, plain)


@pytest.mark.parametrize("keys", [5, 8])
def test_shapes_alone_go_through(keys):
    """Nothing looks at values, so that a model can be run without arithmetic."""
    q, k, v = (t.to("meta") for t in tensors(5, keys, 2))
    for options in OPTIONS:
        moved = {n: o.to("meta") if isinstance(o, torch.Tensor) else o for n, o in options.items()}
        assert fa.flash_attn_func(q, k, v, **moved).shape == q.shape
