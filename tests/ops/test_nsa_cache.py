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


def test_a_full_cache_says_so(whole):
    phi, _, branches, _, _ = whole
    cache = NsaCache(phi, SMALL, 100)
    with pytest.raises(InputError, match="NsaCache: more than 100 tokens, its capacity"), torch.no_grad():
        cache.append(*branches)
    assert cache.lengths == []
