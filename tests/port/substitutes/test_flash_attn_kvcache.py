"""Attention over a cache against the same attention over keys put together by hand."""

import pytest
import torch

from tests.port.substitutes.test_flash_attn import SLOPES, D, H, assert_near, naive
from xinqiao.port.substitutes.flash_attn_kvcache import flash_attn_with_kvcache

LENGTHS = [3, 0]
NEW = 2


def setup(heads_k=2, rows=2):
    torch.manual_seed(0)
    shapes = [(2, NEW, H, D), (rows, 8, heads_k, D), (rows, 8, heads_k, D), (2, NEW, heads_k, D), (2, NEW, heads_k, D)]
    return [torch.randn(s, dtype=torch.float64) for s in shapes]


def turned(x, position, cos, sin, interleaved):
    """One vector rotated, pair by pair."""
    out, half = x.clone(), cos.shape[1]
    for i in range(half):
        a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
        c, s = cos[position, i], sin[position, i]
        out[a], out[b] = x[a] * c - x[b] * s, x[a] * s + x[b] * c
    return out


@pytest.mark.parametrize(
    "options",
    [{}, {"causal": True}, {"window_size": (2, 0)}, {"softcap": 2.0}, {"causal": True, "alibi_slopes": SLOPES}],
    ids=str,
)
def test_new_keys_are_written_and_seen(options):
    q, k_cache, v_cache, k, v = setup()
    before = k_cache.clone(), v_cache.clone()
    seqlens = torch.tensor(LENGTHS, dtype=torch.int32)
    out, sums = flash_attn_with_kvcache(
        q, k_cache, v_cache, k, v, cache_seqlens=seqlens, return_softmax_lse=True, **options
    )
    for i, n in enumerate(LENGTHS):
        keys, values = (torch.cat([old[i, :n], new[i]])[None] for old, new in zip(before, (k, v), strict=True))
        expected, lse = naive(q[i : i + 1], keys, values, **options)
        assert_near(out[i : i + 1], expected)
        assert_near(sums[i : i + 1], lse)
        assert torch.equal(k_cache[i, n : n + NEW], k[i])
        assert torch.equal(v_cache[i, n + NEW :], before[1][i, n + NEW :])


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_keys_and_queries_are_rotated(causal, interleaved):
    q, k_cache, v_cache, k, v = setup()
    old = k_cache.clone()
    angles = torch.rand(16, D // 4, dtype=torch.float64)
    cos, sin = angles.cos(), angles.sin()
    out = flash_attn_with_kvcache(
        q, k_cache, v_cache, k, v, cos, sin, torch.tensor(LENGTHS), causal=causal, rotary_interleaved=interleaved
    )
    for i, n in enumerate(LENGTHS):
        for t in range(NEW):
            for h in range(2):
                assert_near(k_cache[i, n + t, h], turned(k[i, t, h], n + t, cos, sin, interleaved))
            for h in range(H):
                q[i, t, h] = turned(q[i, t, h], n + t if causal else n, cos, sin, interleaved)
        keys = torch.cat([old[i, :n], k_cache[i, n : n + NEW]])
        expected, _ = naive(q[i : i + 1], keys[None], v_cache[i : i + 1, : n + NEW], causal=causal)
        assert_near(out[i : i + 1], expected)


def test_rows_of_the_cache_are_chosen():
    q, k_cache, v_cache, k, v = setup(rows=4)
    out = flash_attn_with_kvcache(q, k_cache, v_cache, k, v, cache_seqlens=3, cache_batch_idx=torch.tensor([3, 1]))
    for i, row in enumerate((3, 1)):
        expected, _ = naive(q[i : i + 1], k_cache[row : row + 1, :5], v_cache[row : row + 1, :5])
        assert_near(out[i : i + 1], expected)
        assert torch.equal(k_cache[row, 3:5], k[i])


def test_keys_before_the_left_padding_are_not_there():
    q, k_cache, v_cache, _, _ = setup()
    out = flash_attn_with_kvcache(
        q, k_cache, v_cache, cache_seqlens=torch.tensor([6, 4]), cache_leftpad=torch.tensor([2, 1]), causal=True
    )
    for i, (first, last) in enumerate(((2, 6), (1, 4))):
        keys, values = (c[i : i + 1, first:last] for c in (k_cache, v_cache))
        assert_near(out[i : i + 1], naive(q[i : i + 1], keys, values, causal=True)[0])


def test_a_cache_in_blocks_is_the_same():
    q, k_cache, v_cache, k, v = setup()
    table = torch.tensor([[3, 0], [1, 2]], dtype=torch.int32)
    blocks = [torch.empty(4, 4, 2, D, dtype=torch.float64) for _ in range(2)]
    for cache, paged in zip((k_cache, v_cache), blocks, strict=True):
        for i in range(2):
            for j in range(2):
                paged[table[i, j]] = cache[i, 4 * j : 4 * j + 4]
    seqlens = torch.tensor([3, 5])
    plain = flash_attn_with_kvcache(q, k_cache, v_cache, k, v, cache_seqlens=seqlens, causal=True)
    got = flash_attn_with_kvcache(q, *blocks, k, v, cache_seqlens=seqlens, causal=True, block_table=table)
    assert torch.equal(got, plain)
    assert torch.equal(blocks[0][3], k_cache[0, :4])  # position 3 went into the first block, 4 into the next
    assert torch.equal(blocks[0][0], k_cache[0, 4:])


def test_the_whole_cache_without_lengths():
    q, k_cache, v_cache, _, _ = setup()
    assert_near(flash_attn_with_kvcache(q, k_cache, v_cache), naive(q, k_cache, v_cache)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"v": None}, "come together"),
        ({"cache_seqlens": None}, "where k and v go"),
        ({"cache_leftpad": torch.tensor([0, 0]), "block_table": torch.zeros(2, 2, dtype=torch.int32)}, "leftpad"),
        ({"k": None, "v": None, "rotary_cos": torch.ones(8, 2)}, "need k and v"),
    ],
)
def test_what_has_no_meaning_is_refused(arguments, message):
    q, k_cache, v_cache, k, v = setup()
    with pytest.raises(ValueError, match=message):
        flash_attn_with_kvcache(q, k_cache, v_cache, **{"k": k, "v": v, "cache_seqlens": 3, **arguments})
