"""Decoding with pages gives what the whole sequence at once gives."""

import pytest
import torch

from tests.ops.attention_cases import SMALL, layer
from xinqiao.errors import InputError
from xinqiao.ops import backend
from xinqiao.ops.cache import NsaCache
from xinqiao.ops.compress import Compression
from xinqiao.ops.nsa import Branch, nsa_attention

LENGTH = 150


@pytest.fixture(scope="module")
def whole():
    torch.manual_seed(0)
    phi = [Compression(16, SMALL), Compression(16, SMALL)]
    q, _, selected, window, gates = layer(1, 2, LENGTH, 4, 2, (16, 16), SMALL)
    raw = Branch(torch.randn(2, LENGTH, 2, 16), torch.randn(2, LENGTH, 2, 16))
    with torch.no_grad():
        made = Branch(*(f(t) for f, t in zip(phi, raw, strict=True)))
        expected = nsa_attention(q, made, selected, window, gates, rule=SMALL, tokens=20)
    return phi, q, (raw, selected, window), gates, expected


@pytest.mark.parametrize("backend_name", ["reference", "cpu"])
@pytest.mark.parametrize(
    "steps", [[1] * LENGTH, [70, 1, 1, 1, 30, 47], [LENGTH]], ids=["one by one", "in pieces", "at once"]
)
def test_steps_give_the_whole(whole, steps, backend_name):
    if backend_name == "reference" and len(steps) > 10:
        steps = [120, *[1] * 30]
    phi, q, branches, gates, expected = whole
    cache, at = NsaCache(phi, SMALL, LENGTH), 0
    with torch.no_grad(), backend.use(backend_name):
        for step in steps:
            rows = slice(at, at + step)
            cache.append(*(Branch(*(t[:, rows] for t in b)) for b in branches))
            got = cache.attend(q[:, rows], gates[:, rows], tokens=20)
            torch.testing.assert_close(got, expected[:, rows], rtol=0, atol=3e-6)
            at += step
    assert cache.lengths == [LENGTH, LENGTH]


def test_sequences_of_different_lengths(whole):
    phi, q, branches, gates, expected = whole
    cache = NsaCache(phi, SMALL, LENGTH)
    with torch.no_grad():
        cache.append(*(Branch(*(t[:, :90] for t in b)) for b in branches), counts=[90, 41])
        last = torch.tensor([90, 41])
        new = [Branch(*(t[torch.arange(2), last][:, None] for t in b)) for b in branches]
        cache.append(*new)
        got = cache.attend(q[torch.arange(2), last][:, None], gates[torch.arange(2), last][:, None], tokens=20)
    assert cache.lengths == [91, 42]
    torch.testing.assert_close(got[:, 0], expected[torch.arange(2), last], rtol=0, atol=3e-6)


@pytest.mark.parametrize("sizes", [(16, 16), (24, 40)], ids=["multiples of 16", "other sizes"])
@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("bfloat16", "bfloat16"), ("float16", "float16"),
                                    ("bfloat16", "float32"), ("float32", "float16")], ids="/".join)  # fmt: skip
def test_pages_of_every_dtype_and_size(dtypes, sizes):
    """What the pages hold is what is computed with: as the reference computes it, in float64."""
    phi = [Compression(d, SMALL, kind="mean") for d in sizes]
    kinds = [getattr(torch, name) for name in dtypes]
    make = torch.Generator().manual_seed(2)
    branches = [Branch(*(torch.randn(2, 90, 2, d, generator=make).to(t) for d, t in zip(sizes, kinds, strict=True)))
                for _ in range(3)]  # fmt: skip
    q, gates = torch.randn(2, 1, 4, sizes[0], generator=make), torch.rand(2, 1, 4, 3, generator=make)
    found = []
    for name, wide in (("cpu", q), ("reference", q.double())):
        cache = NsaCache(phi, SMALL, 100)
        with torch.no_grad(), backend.use(name):
            cache.append(*branches)
            found.append(cache.attend(wide, gates.to(wide.dtype), tokens=20))
    torch.testing.assert_close(found[0].double(), found[1], rtol=0, atol=3e-6)


def test_a_full_cache_says_so(whole):
    phi, _, branches, _, _ = whole
    cache = NsaCache(phi, SMALL, 100)
    with pytest.raises(InputError, match="NsaCache: more than 100 tokens, its capacity"), torch.no_grad():
        cache.append(*branches)
    assert cache.lengths == []
