"""The kernels of native sparse attention, in Triton's interpreter, against the reference."""

from dataclasses import dataclass

import pytest
import torch

from xinqiao.ops.reference import nsa as reference
from xinqiao.ops.rules import Choosing, Keys

nsa = pytest.importorskip("xinqiao.ops.triton.nsa")
pytestmark = [pytest.mark.triton, pytest.mark.filterwarnings("ignore::RuntimeWarning")]  # NumPy's, of lanes left out

SMALL = Choosing(length=8, stride=4, block=16, blocks=3, initial=1, local=1)
# A sum of n products in fp32 is off by at most n·2^-24 of the sum of their sizes; here n ≤ 200. fp16 keeps operands,
# and rounds the shares and the result: 2^-11 each, of sizes up to 4.
BOUNDS = {torch.float32: 2e-5, torch.float16: 4 * 2 * 2**-11 * 2}


@dataclass(frozen=True)
class Case:
    """sequences: (rows of q, keys, position of the first query) each."""

    sequences: tuple[tuple[int, int, int], ...]
    heads: int = 4
    kv_heads: int = 1
    d_k: int = 16
    d_v: int = 16
    dtype: torch.dtype = torch.float32


CASES = {
    "one sequence": Case(((40, 40, 0),)),
    "one token": Case(((1, 1, 0),)),
    "decode": Case(((1, 37, 36), (1, 90, 89))),
    "ragged": Case(((5, 5, 0), (17, 17, 0), (1, 1, 0))),
    "after a prefix": Case(((7, 50, 43),)),
    "one head each": Case(((20, 20, 0),), heads=2, kv_heads=2),
    "three heads of a group": Case(((20, 20, 0),), heads=6, kv_heads=2),
    "group of 32": Case(((9, 9, 0),), heads=32),
    "d_k 48, d_v 24": Case(((20, 20, 0),), d_k=48, d_v=24),
    "d 5": Case(((20, 20, 0),), d_k=5, d_v=3),
    "fp16": Case(((20, 20, 0),), dtype=torch.float16),
}


def rows(counts):
    found, a, b = [], 0, 0
    for queries, keys, start in counts:
        found.append((a, queries, b, keys, start))
        a, b = a + queries, b + keys
    return torch.tensor(found, dtype=torch.int64)


def tensors(case, seed=0):
    g = torch.Generator().manual_seed(seed)
    queries, keys = (sum(s[i] for s in case.sequences) for i in (0, 1))
    sizes = ((queries, case.heads, case.d_k), (keys, case.kv_heads, case.d_k), (keys, case.kv_heads, case.d_v))
    return *(torch.randn(s, generator=g).to(case.dtype) for s in sizes), rows(case.sequences)


def some_blocks(case, block, taken, seed=0):
    """Random blocks up to each query's own, in ascending order, then -1."""
    g = torch.Generator().manual_seed(seed)
    found = torch.full((sum(s[0] for s in case.sequences), case.kv_heads, taken), -1, dtype=torch.int32)
    row = 0
    for queries, _, start in case.sequences:
        for at in range(start, start + queries):
            for head in range(case.kv_heads):
                picked = torch.randperm(at // block + 1, generator=g)[:taken].sort().values
                found[row, head, : len(picked)] = picked.int()
            row += 1
    return found


def seen(case, kind):
    if kind == "window":
        return Keys(window=6), None
    if kind == "all":
        return Keys(), None
    if kind == "chosen":
        return Keys(block=16), some_blocks(case, 16, 2)
    return Keys(window=20, block=12), some_blocks(case, 12, 2)


KINDS = ("window", "all", "chosen", "blocks of 12 in a window")


def double(*values):
    return [v.double() for v in values]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_attend(name, kind):
    case = CASES[name]
    q, k, v, sequences = tensors(case)
    keys, choice = seen(case, kind)
    out, lse = nsa.attend(q, k, v, sequences, keys, choice, 0.3)
    expected, norm = reference.attend(*double(q, k, v), sequences, keys, choice, 0.3)
    assert out.dtype == case.dtype and lse.dtype == torch.float32
    torch.testing.assert_close(out.double(), expected.double(), rtol=0, atol=BOUNDS[case.dtype])
    torch.testing.assert_close(lse.double(), norm.double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_gradients(name, kind):
    case = CASES[name]
    q, k, v, sequences = tensors(case)
    keys, choice = seen(case, kind)
    gradient = torch.randn(q.shape[0], q.shape[1], v.shape[2], generator=torch.Generator().manual_seed(1)).to(
        case.dtype
    )
    out, lse = reference.attend(q, k, v, sequences, keys, choice, 0.3)
    got = nsa.attend_backward(gradient, q, k, v, out, lse, sequences, keys, choice, 0.3)
    again = nsa.attend_backward(gradient, q, k, v, out, lse, sequences, keys, choice, 0.3)
    want = reference.attend_backward(*double(gradient, q, k, v, out, lse), sequences, keys, choice, 0.3)
    for mine, same, theirs in zip(got, again, want, strict=True):
        assert mine.dtype == case.dtype and torch.equal(mine, same)
        torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=20 * BOUNDS[case.dtype])


@pytest.mark.parametrize("heads, kv_heads", [(4, 1), (6, 2)])
def test_compressed(heads, kv_heads):
    case = Case(((20, SMALL.keys(20), 0), (3, SMALL.keys(60), 57)), heads=heads, kv_heads=kv_heads)
    q, k, v, sequences = tensors(case)
    out, lse, choice = nsa.compressed(q, k, v, sequences, SMALL, 0.3)
    expected, norm = reference.attend(*double(q, k, v), sequences, SMALL, None, 0.3)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=BOUNDS[case.dtype])
    torch.testing.assert_close(lse.double(), norm, rtol=0, atol=1e-5)
    assert torch.equal(choice, reference.choose(q, k, sequences, SMALL, 0.3))
    gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    got = nsa.attend_backward(gradient, q, k, v, out, lse, sequences, SMALL, None, 0.3)
    want = reference.attend_backward(*double(gradient, q, k, v, out, lse), sequences, SMALL, None, 0.3)
    for mine, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=20 * BOUNDS[torch.float32])


@pytest.mark.parametrize("importance", ["overlap", "forward", "literal"])
@pytest.mark.parametrize("kind", ["random", "ties", "NaN", "large", "nothing compressed"])
def test_choices_are_the_reference_s_to_the_bit(kind, importance):
    rule = Choosing(length=8, stride=4, block=16, blocks=4, initial=1, local=2, importance=importance)
    spread = ((3, 0, 0),) if kind == "nothing compressed" else ((4, 40, 160), (6, 3, 14), (2, 0, 0))
    case = Case(spread, heads=4, kv_heads=2, d_k=8, d_v=8)
    for seed in range(2):
        q, k, _, sequences = tensors(case, seed)
        if kind == "ties":
            q, k = q.round(), k.sign()
        if kind == "NaN":
            q[1, 0, 3] = k[2, 1, 0] = torch.nan
        if kind == "large":
            q, k = q * 1e20, k * 1e19
        assert torch.equal(nsa.choose(q, k, sequences, rule, 0.3), reference.choose(q, k, sequences, rule, 0.3))


def test_a_cache_in_pages_is_read_as_one_without():
    case = Case(((1, 37, 36), (2, 90, 88)), heads=4, kv_heads=2)
    q, k, v, sequences = tensors(case)
    table = torch.tensor([[5, 1, -1], [0, 3, 2]], dtype=torch.int32)
    pages = [torch.zeros(6, 32, *x.shape[1:]) for x in (k, v)]
    for i, (_, _, first, count, _) in enumerate(sequences.tolist()):
        for token in range(count):
            for page, flat in zip(pages, (k, v), strict=True):
                page[table[i, token // 32], token % 32] = flat[first + token]
    for keys, choice in ((Keys(window=50), None), (Keys(block=16), some_blocks(case, 16, 2))):
        plain = nsa.attend(q, k, v, sequences, keys, choice, 0.3)
        paged = nsa.attend(q, *pages, sequences, keys, choice, 0.3, table)
        assert all(map(torch.equal, plain, paged))
    assert torch.equal(nsa.choose(q, k, sequences, SMALL, 0.3), nsa.choose(q, pages[0], sequences, SMALL, 0.3, table))
