"""Which blocks are chosen: as equation 9 defines it, and the same ones on every back end, to the last."""

import random

import pytest
import torch

from tests.ops.attention_cases import packed
from xinqiao.native.processor import levels
from xinqiao.ops.cpu import nsa as cpu
from xinqiao.ops.reference import nsa as reference
from xinqiao.ops.rules import IMPORTANCE, Choosing

RULES = [
    Choosing(length=8, stride=4, block=16, blocks=4),
    Choosing(length=8, stride=8, block=8, blocks=5),
    Choosing(length=4, stride=2, block=8, blocks=3, initial=0, local=1),
    Choosing(length=16, stride=4, block=8, blocks=6, initial=2, local=1),
    Choosing(length=32, stride=16, block=64, blocks=4),
]


def tokens_shared(rule, block, key):
    """How many of a compressed key's tokens lie in a block, in strides: what equation 9 counts."""
    first, last = (
        max(block * rule.block, key * rule.stride),
        min((block + 1) * rule.block, key * rule.stride + rule.length),
    )
    return max(0, last - first) / rule.stride


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("start", [0, 29])
def test_the_highest_blocks_by_equation_9_are_taken(rule, start):
    rows, heads, groups = 90, 6, 2
    q, _, (k, _), _, fewer = packed(0, [rows], heads, groups, (8, 8), rule, [start])
    choice = reference.choose(q, k, fewer, rule, 8**-0.5)
    for t in range(rows):
        at, own = start + t, (start + t) // rule.block
        ended = [c for c in range(len(k)) if c * rule.stride + rule.length - 1 <= at]
        forced = set(range(min(rule.initial, own + 1))) | set(range(max(0, own - rule.local + 1), own + 1))
        for g in range(groups):
            each = q[t, g * 3 : g * 3 + 3].double()
            shares = (each @ k[ended, g].double().T * 8**-0.5).softmax(-1).sum(0) if ended else []
            score = [
                sum(tokens_shared(rule, j, c) * s for c, s in zip(ended, shares, strict=True)) for j in range(own + 1)
            ]
            taken = [j for j in choice[t, g].tolist() if j >= 0]
            assert taken == sorted(taken)
            assert forced <= set(taken) <= set(range(own + 1))
            assert len(taken) == min(rule.blocks, own + 1)
            left = [score[j] for j in range(own + 1) if j not in taken]
            free = [score[j] for j in taken if j not in forced]
            assert not left or not free or max(left) <= min(free) + 1e-6


def awkward(seed):
    """A random case: ties by repeated and whole-numbered rows, queries of zeros, sequences of one token."""
    r = random.Random(seed)
    rule = Choosing(
        **{
            **{f: getattr(RULES[seed % len(RULES)], f) for f in Choosing.__slots__},
            "importance": r.choice([*IMPORTANCE]),
        }
    )
    groups, each, d = r.choice([1, 2, 3]), r.choice([1, 2, 3, 5, 16]), r.choice([4, 16, 20])
    lengths = [r.choice([1, 2, 7, 33, 61]) for _ in range(r.choice([1, 2]))]
    starts = [r.choice([0, 0, 1, 50, 130]) for _ in lengths]
    q, _, (k, v), _, fewer = packed(seed, lengths, groups * each, groups, (d, 4), rule, starts)
    kind = r.choice(["random", "whole", "repeated", "zeros", "wide", "half"])
    if kind == "whole":
        q, k = q.round(), k.round()
    if kind == "repeated" and len(k):
        k = k[torch.randint(0, min(3, len(k)), (len(k),), generator=torch.Generator().manual_seed(seed))]
    if kind == "zeros":
        q[::2] = 0
    if kind == "wide":
        q = q * 40
    if kind == "half":
        q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
    return q, k, v, fewer, rule, d**-0.5


@pytest.mark.slow
def test_every_level_chooses_the_reference_s_blocks_in_a_thousand_cases():
    different, ties = 0, 0
    for seed in range(1000):
        q, k, v, rows, rule, scale = awkward(seed)
        expected = reference.choose(q, k, rows, rule, scale)
        ties += bool((q == 0).all(-1).any())
        for at in levels():
            if at == "portable" and seed % 10:  # without fused instructions a hundred times slower
                continue
            different += int((cpu.compressed(q, k, v, rows, rule, scale, at=at)[2] != expected).sum())
    assert different == 0
    assert ties > 50


def test_of_equal_blocks_the_first_are_taken():
    rule = Choosing(length=8, stride=4, block=8, blocks=5, initial=0, local=1)
    q, k = torch.zeros(200, 2, 16), torch.randn(rule.keys(200), 1, 16)
    rows = torch.tensor([[0, 200, 0, len(k), 0]])
    for choice in (reference.choose(q, k, rows, rule, 0.25), cpu.compressed(q, k, k, rows, rule, 0.25)[2]):
        # every compressed key has the same share; blocks in the middle count as many of them
        assert choice[199, 0].tolist() == [1, 2, 3, 4, 24]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_query_without_numbers_takes_the_first_blocks(bad):
    rule = Choosing(length=8, stride=4, block=8, blocks=5, initial=0, local=1)
    q, k = torch.ones(100, 2, 16), torch.randn(rule.keys(100), 1, 16)
    q[99, 1, 3] = bad
    rows = torch.tensor([[0, 100, 0, len(k), 0]])
    for choice in (reference.choose(q, k, rows, rule, 0.25), cpu.compressed(q, k, k, rows, rule, 0.25)[2]):
        assert choice[99, 0].tolist() == [0, 1, 2, 3, 12]
