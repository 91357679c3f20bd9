"""What DeepSeek-V3.2's indexer chooses: by the definition, and the same to the bit on every level."""

import pytest
import torch

from tests.ops.dsa_oracle import in_pages, indexer
from xinqiao.errors import InputError
from xinqiao.native import processor
from xinqiao.ops import backend
from xinqiao.ops.cpu import dsa as cpu
from xinqiao.ops.dsa import dsa_index, dsa_quantize, hadamard
from xinqiao.ops.reference import dsa as reference

LEVELS = processor.levels()


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def by_definition(q, k, weights, q_scale, k_scale, start, top_k):
    """Scores in float64, sorted by Python: highest first, then lowest token."""
    wide = torch.einsum("bthd,bsd->bths", q.double(), k.double()).relu()
    scores = (wide * (weights.double() * q_scale.double())[..., None]).sum(2) * k_scale.double()[:, None]
    found = torch.full((*q.shape[:2], top_k), -1, dtype=torch.int32)
    for b in range(q.shape[0]):
        for t in range(q.shape[1]):
            row = scores[b, t, : start + t + 1].tolist()
            best = sorted(sorted(range(len(row)), key=lambda j: (-row[j], j))[:top_k])
            found[b, t, : len(best)] = torch.tensor(best, dtype=torch.int32)
    return found


def whole_numbers(batch, length, heads, d, tokens, seed=0):
    """Small integers: fp32 sums of them are exact, and many scores are equal."""
    g = torch.Generator().manual_seed(seed)
    q, k = (torch.randint(-3, 4, (batch, *size, d), generator=g) for size in ((length, heads), (tokens,)))
    weights = torch.randint(-4, 5, (batch, length, heads), generator=g).float()
    q_scale, k_scale = (2.0 ** torch.randint(-3, 4, (batch, *s), generator=g) for s in ((length, heads), (tokens,)))
    return q.to(torch.float8_e4m3fn), k.to(torch.float8_e4m3fn), weights, q_scale, k_scale


@pytest.mark.parametrize("name", ["reference", "cpu"])
@pytest.mark.parametrize("top_k", [1, 7, 64])
def test_the_highest_scores_and_of_equal_ones_the_lower_token(name, top_k):
    arguments = whole_numbers(2, 5, 6, 32, 50)
    with backend.use(name):
        found = dsa_index(*arguments, top_k=top_k, start=45)
    assert torch.equal(found, by_definition(*arguments, 45, top_k))


CASES = [  # batch, length, heads, d, tokens, top_k, start
    (1, 1, 64, 128, 300, 64, [299]),
    (2, 9, 5, 128, 130, 16, [121, 40]),
    (1, 20, 8, 64, 97, 33, [0]),
    (3, 1, 1, 32, 65, 64, [64, 63, 0]),
    (1, 3, 17, 7, 40, 1, [20]),
    (2, 2, 4, 128, 64, 100, [62, 0]),
    (1, 1, 4, 128, 1, 1, [0]),
]


@pytest.mark.parametrize("case", CASES)
def test_every_level_chooses_as_the_reference(case, one_thread):
    *sizes, top_k, start = case
    arguments = (*indexer(*sizes), None, torch.tensor(start), top_k)
    want = reference.dsa_index(*arguments)
    for at in LEVELS:
        assert torch.equal(cpu.dsa_index(*arguments, at=at), want), at


def test_a_thousand_random_cases(one_thread):
    generator = torch.Generator().manual_seed(1)
    for seed in range(1000):
        sizes = [int(torch.randint(1, most, (), generator=generator)) for most in (3, 4, 7, 18, 70)]
        make = whole_numbers if seed % 2 else indexer
        start = torch.randint(0, sizes[-1], (sizes[0],), generator=generator)
        top_k = int(torch.randint(1, 24, (), generator=generator))
        arguments = (*make(*sizes, seed), None, start, top_k)
        want = reference.dsa_index(*arguments)
        for at in LEVELS:
            assert torch.equal(cpu.dsa_index(*arguments, at=at), want), (seed, sizes, at)


@pytest.mark.parametrize("at", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_operands_need_not_be_quantised(dtype, at):
    q, k, weights, _, _ = indexer(2, 3, 4, 40, 90)
    g = torch.Generator().manual_seed(3)
    q, k = (torch.randn(x.shape, generator=g).to(dtype) for x in (q, k))
    arguments = (q, k, weights, None, None, None, torch.tensor([87, 50]), 16)
    assert torch.equal(cpu.dsa_index(*arguments, at=at), reference.dsa_index(*arguments))


def test_float64_is_rounded_and_float16_widened_on_every_back_end():
    g = torch.Generator().manual_seed(3)
    q, k, weights = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((1, 2, 4, 16), (1, 60, 16), (1, 2, 4)))
    want = dsa_index(q.float(), k.float(), weights.float(), top_k=9, start=58)
    for name in ("reference", "cpu"):
        with backend.use(name):
            assert torch.equal(dsa_index(q, k, weights, top_k=9, start=58), want)
            half = dsa_index(q.half(), k.half(), weights, top_k=9, start=58)
            assert torch.equal(half, dsa_index(q.half().float(), k.half().float(), weights, top_k=9, start=58))


@pytest.mark.parametrize("scale", ["e8m0", "bytes", "float32"])
@pytest.mark.parametrize("at", LEVELS)
def test_scales_in_each_of_their_dtypes(scale, at):
    q, k, weights, q_scale, k_scale = indexer(1, 2, 4, 128, 200)
    to = {"e8m0": lambda s: s, "bytes": lambda s: s.view(torch.uint8), "float32": lambda s: s.float()}[scale]
    arguments = (None, torch.tensor([198]), 20)
    want = reference.dsa_index(q.float() * q_scale.float()[..., None], k, weights, None, k_scale.float(), *arguments)
    assert torch.equal(cpu.dsa_index(q, k, weights, to(q_scale), to(k_scale), *arguments, at=at), want)


@pytest.mark.parametrize("at", LEVELS)
@pytest.mark.parametrize("byte", [0, 1, 254, 255])
def test_the_ends_of_e8m0(byte, at):
    q, k, weights, _, _ = indexer(1, 1, 4, 128, 100)
    k_scale = torch.full((1, 100), 127, dtype=torch.uint8)
    k_scale[0, 50] = byte
    arguments = (q, k, weights, None, k_scale, None, torch.tensor([99]), 30)
    assert torch.equal(cpu.dsa_index(*arguments, at=at), reference.dsa_index(*arguments))


@pytest.mark.parametrize("at", LEVELS)
def test_every_code_of_e4m3_counts_as_its_value(at):
    """NaN too: the query then chooses as if all scores were 0."""
    k = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).repeat(64, 1).T.contiguous()[None]
    q, weights = torch.ones(1, 1, 1, 64), torch.ones(1, 1, 1)
    k[0, (127, 255)] = 0  # the NaNs
    arguments = (q, k, weights, None, None, None, torch.tensor([255]), 5)
    found = cpu.dsa_index(*arguments, at=at)
    assert found.tolist() == [[[122, 123, 124, 125, 126]]]
    k[0, 200, 63] = torch.nan
    assert cpu.dsa_index(*arguments, at=at).tolist() == [[[0, 1, 2, 3, 4]]]


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_not_a_number_matters_to_those_who_see_it(name):
    q, k, weights, q_scale, k_scale = whole_numbers(1, 4, 3, 16, 30)
    clean = dsa_index(q, k, weights, q_scale, k_scale, top_k=4, start=26)
    k_scale[0, 28] = torch.nan
    with backend.use(name):
        found = dsa_index(q, k, weights, q_scale, k_scale, top_k=4, start=26)
    assert torch.equal(found[0, :2], clean[0, :2])
    assert found[0, 2:].tolist() == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("at", LEVELS)
def test_infinities_are_numbers(at):
    q, k, weights, _, _ = (x.float() for x in indexer(1, 1, 4, 32, 90))
    k[0, 40, 3] = torch.inf
    weights.abs_()
    q[..., 3] = torch.tensor([1.0, -1, 1, -1])
    arguments = (q, k, weights, None, None, None, torch.tensor([89]), 6)
    found = cpu.dsa_index(*arguments, at=at)
    assert torch.equal(found, reference.dsa_index(*arguments))
    assert 40 in found
    assert found[0, 0].tolist() != [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("at", LEVELS)
def test_subnormal_scores_count_where_the_thread_flushes_them(at):
    q, k, weights = torch.full((1, 1, 1, 8), 2.0**-70), torch.zeros(1, 40, 8), torch.ones(1, 1, 1)
    k[0, :, 0] = torch.arange(40) * 2.0**-78
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot")
    try:
        found = cpu.dsa_index(q, k, weights, None, None, None, torch.tensor([39]), 3, at=at)
    finally:
        torch.set_flush_denormal(False)
    assert found.tolist() == [[[37, 38, 39]]]


@pytest.mark.parametrize("name", ["reference", "cpu"])
@pytest.mark.parametrize("page", [1, 16, 64])
def test_pages_of_keys(name, page):
    q, k, weights, q_scale, k_scale = indexer(2, 3, 4, 128, 150)
    start = torch.tensor([147, 60])
    want = dsa_index(q, k, weights, q_scale, k_scale, top_k=20, start=start)
    keys, table = in_pages(k, page)
    scales, _ = in_pages(k_scale, page)
    with backend.use(name):
        assert torch.equal(dsa_index(q, keys, weights, q_scale, scales, top_k=20, start=start, table=table), want)


def test_a_longer_cache_is_read_where_it_lies():
    q, k, weights, q_scale, k_scale = indexer(2, 1, 4, 128, 100)
    want = dsa_index(q, k, weights, q_scale, k_scale, top_k=10, start=99)
    longer = torch.full((2, 130, 132), 0x7F, dtype=torch.uint8)  # DeepSeek's: 128 of a key and 4 of its scale
    longer[:, :100, :128], longer[:, :100, 128:] = (
        k.view(torch.uint8),
        k_scale.float().view(torch.uint8).view(2, 100, 4),
    )
    keys, scales = longer[..., :128].view(torch.float8_e4m3fn), longer.view(torch.float32)[..., 32]
    assert not keys.is_contiguous()
    for some in (keys, keys[:, :100]):
        found = dsa_index(q, some, weights, q_scale, scales[:, : some.shape[1]], top_k=10, start=99)
        assert torch.equal(found, want)


def test_threads_do_not_matter():
    arguments = indexer(1, 40, 8, 64, 5000)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(dsa_index(*arguments, top_k=300, start=4960))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("n", [1, 2, 100, 5000])
def test_choosing_from_scores_of_every_kind(n):
    """One head and one element: the scores are given. Magnitudes of every exponent, both signs, zeros of both."""
    g = torch.Generator().manual_seed(n)
    scores = torch.randn(n, generator=g) * 2.0 ** torch.randint(-126, 120, (n,), generator=g)
    scores[::5], scores[::7] = 0.0, -0.0
    k, weights = scores.abs().view(1, n, 1), torch.ones(1, 1, 1)
    k_scale = scores.sign().view(1, n)
    for top_k in {1, 2, n // 3 + 1, n - 1 or 1, n, n + 3}:
        order = torch.argsort(scores, descending=True, stable=True)[:top_k].sort().values
        found = dsa_index(torch.ones(1, 1, 1, 1), k, weights, None, k_scale, top_k=top_k, start=n - 1)
        assert found[0, 0, : min(n, top_k)].tolist() == order.tolist()
        assert (found[0, 0, n:] == -1).all()


def test_quantised_rows_fit_and_are_near():
    x = torch.randn(3, 5, 128) * torch.logspace(-3, 3, 15).view(3, 5, 1)
    codes, scale = dsa_quantize(x)
    largest = codes.float().abs().amax(-1)
    assert ((largest >= 224) & (largest <= 448)).all()  # the smallest power of two that fits
    near = (codes.float() * scale.float()[..., None] - x).abs()
    assert (near <= torch.maximum(x.abs() * 2.0**-4, scale.float()[..., None] * 2.0**-10)).all()
    zero, small = dsa_quantize(torch.zeros(2, 8))
    assert (zero.float() == 0).all()
    assert (small.float() == 2.0**-22).all()  # of 1e-4 / 448


@pytest.mark.parametrize("d", [1, 2, 64, 128])
def test_hadamard_is_the_matrix_and_keeps_products(d):
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < d:
        matrix = torch.kron(torch.tensor([[1.0, 1], [1, -1]], dtype=torch.float64), matrix)
    x = torch.randn(4, d, dtype=torch.float64)
    torch.testing.assert_close(hadamard(x), x @ matrix / d**0.5)
    torch.testing.assert_close(hadamard(x) @ hadamard(x).T, x @ x.T)


OPERANDS = {
    "q": torch.zeros(2, 3, 4, 16), "k": torch.zeros(2, 9, 16), "weights": torch.zeros(2, 3, 4)
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": torch.zeros(2, 3, 16)}, "dsa_index: q has shape [2, 3, 16], expected [batch, length, heads, d]"),
        ({"k": torch.zeros(2, 9, 8)}, "k has shape [2, 9, 8], expected [batch, tokens, d] with batch = 2 (of q)"),
        ({"q": torch.zeros(2, 3, 4, 16).int()}, "dsa_index: q is int32, expected float8_e4m3fn, bfloat16, float16"),
        ({"weights": torch.zeros(2, 3, 5)}, "weights has shape [2, 3, 5], expected [batch, length, heads] with"),
        ({"q_scale": torch.zeros(2, 3)}, "q_scale has shape [2, 3], expected [batch, length, heads]"),
        ({"k_scale": torch.zeros(2, 8)}, "k_scale has shape [2, 8], expected [batch, tokens]"),
        ({"k_scale": torch.zeros(2, 9).double()}, "k_scale is float64, expected float32, float8_e8m0fnu, uint8"),
        ({"top_k": 0}, "top_k is 0, expected 1 or more"),
        ({"start": -1}, "start is -1, expected 0 or more"),
        ({"start": torch.zeros(3).long()}, "start has shape [3], expected [batch] with batch = 2 (of q)"),
        ({"table": torch.zeros(3, 1).int()}, "table has shape [3, 1], expected [batch, pages_of_one] with batch = 2"),
        ({"q": torch.zeros(2, 3, 4, 16, device="meta")}, "k is on cpu, expected meta, where q is"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(change, message):
    with pytest.raises(InputError) as caught:
        dsa_index(**OPERANDS | {"top_k": 2} | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hadamard_needs_a_power_of_two():
    with pytest.raises(InputError, match=r"x has shape \[2, 12\], expected a power of two as the last size"):
        hadamard(torch.zeros(2, 12))
