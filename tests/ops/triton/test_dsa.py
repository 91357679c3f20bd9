"""The kernels of attention at chosen tokens, in Triton's interpreter, against the reference."""

from dataclasses import dataclass

import pytest
import torch

reference = pytest.importorskip("xinqiao.ops.reference.dsa")
dsa = pytest.importorskip("xinqiao.ops.triton.dsa")
pytestmark = [pytest.mark.triton, pytest.mark.filterwarnings("ignore::RuntimeWarning")]  # NumPy's, of lanes left out


@dataclass(frozen=True)
class Case:
    batch: int = 2
    length: int = 5
    keys: int = 40
    heads: int = 4
    d: int = 48
    d_v: int = 32
    top_k: int = 12


CASES = {
    "two sequences": Case(),
    "one token": Case(1, 1, 1),
    "decode": Case(length=1),
    "heads of 32": Case(1, 3, heads=32),
    "seven heads": Case(heads=7),
    "values of another width": Case(d=40, d_v=24),
    "all of a key is its value": Case(d=32, d_v=32),
}


def paged(x, page=16):
    """The same rows in pages, out of order, and the table that finds them."""
    batch, keys = x.shape[:2]
    count = -(-keys // page)
    table = torch.randperm(batch * count, generator=torch.Generator().manual_seed(9)).view(batch, count)
    padded = torch.nn.functional.pad(x.float(), (0,) * (2 * (x.dim() - 2)) + (0, count * page - keys)).to(x.dtype)
    pages = torch.empty(batch * count, page, *x.shape[2:], dtype=x.dtype)
    pages[table] = padded.unflatten(1, (count, page))
    return pages, table.int()


def index_tensors(case, kind, seed):
    g = torch.Generator().manual_seed(seed)
    q = torch.randn(case.batch, case.length, case.heads, case.d, generator=g)
    k = torch.randn(case.batch, case.keys, case.d, generator=g)
    weights = torch.randn(case.batch, case.length, case.heads, generator=g)
    scales = [torch.randint(120, 130, size, generator=g).to(torch.uint8) for size in (q.shape[:3], k.shape[:2])]
    if kind == "ties":
        q, k, weights = q.sign(), k.sign(), weights.sign()
    if kind == "NaN":
        k[0, case.keys // 3, 1] = torch.nan
    if kind == "fp8":
        q, k = q.to(torch.float8_e4m3fn), k.to(torch.float8_e4m3fn)
    return q, k, weights, *(scales if kind == "fp8" else (None, None))


@pytest.mark.parametrize("kind", ["random", "ties", "NaN", "fp8"])
@pytest.mark.parametrize("name", CASES)
def test_choices_are_the_reference_s_to_the_bit(name, kind):
    case = CASES[name]
    start = torch.full((case.batch,), case.keys - case.length, dtype=torch.int64)
    for seed in range(2):
        q, k, weights, q_scale, k_scale = index_tensors(case, kind, seed)
        got = dsa.dsa_index(q, k, weights, q_scale, k_scale, None, start, case.top_k)
        assert torch.equal(got, reference.dsa_index(q, k, weights, q_scale, k_scale, None, start, case.top_k))
        pages, table = paged(k)
        scale_pages = None if k_scale is None else paged(k_scale)[0]
        assert torch.equal(dsa.dsa_index(q, pages, weights, q_scale, scale_pages, table, start, case.top_k), got)


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "all"])
@pytest.mark.parametrize("name", CASES)
def test_attention_and_its_gradients(name, chosen):
    """fp32: the bound is 1e-5 of values near 1, as for sums of 100 products, of 100·2^-24 each."""
    case = CASES[name]
    g = torch.Generator().manual_seed(0)
    q = torch.randn(case.batch, case.length, case.heads, case.d, generator=g)
    latent = torch.randn(case.batch, case.keys, case.d, generator=g)
    start = torch.full((case.batch,), case.keys - case.length, dtype=torch.int64)
    choice = None
    if chosen:
        choice = torch.randint(-1, case.keys, (case.batch, case.length, 40), generator=g).int()
        choice[0, 0] = -1
    for cache, table in ((latent, None), paged(latent)):
        got = dsa.dsa_attention(q, cache, choice, table, start, case.d_v, 0.2)
        want = reference.dsa_attention(q.double(), cache.double(), choice, table, start, case.d_v, 0.2)
        for mine, theirs in zip(got, want, strict=True):
            torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=1e-5)
        grads = torch.randn(got[0].shape, generator=g), torch.randn(got[1].shape, generator=g)
        mine = dsa.dsa_attention_backward(grads, q, cache, choice, table, start, got, 0.2)
        wide = [tuple(x.double() for x in pair) for pair in (grads, want)]
        theirs = reference.dsa_attention_backward(
            wide[0], q.double(), cache.double(), choice, table, start, wide[1], 0.2
        )
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=0, atol=1e-4)
