"""Native sparse attention: the reference against dense attention in float64, and kernels against the reference."""

import pytest
import torch
from torch.autograd import gradcheck

from tests.ops.attention_cases import SMALL, bound, dense, layer, packed
from xinqiao.errors import InputError
from xinqiao.native.processor import levels
from xinqiao.ops import backend
from xinqiao.ops.compress import Compression
from xinqiao.ops.cpu import nsa as cpu
from xinqiao.ops.nsa import Branch, nsa_attention
from xinqiao.ops.reference import nsa as reference
from xinqiao.ops.rules import Choosing, Keys, offsets

PAPER = Choosing()
CASES = {  # lengths, heads, key heads, (d_k, d_v), rule, tokens before the queries
    "the paper's sizes": ([150], 4, 1, (192, 128), PAPER, None),
    "one head": ([70], 1, 1, (16, 16), SMALL, None),
    "32 heads of a key head": ([40], 32, 1, (16, 16), SMALL, None),
    "3 heads of each of 2": ([90], 6, 2, (24, 40), SMALL, None),
    "sequences of 1, 37 and 100 tokens": ([1, 37, 100], 4, 2, (16, 32), SMALL, None),
    "the last of many tokens": ([1, 3], 8, 2, (32, 16), SMALL, [150, 77]),
    "no overlap": ([100], 4, 2, (16, 16), Choosing(16, 16, 16, 4), None),
    "blocks of 128": ([270], 2, 1, (16, 16), Choosing(32, 16, 128, 2, 0, 1), None),
    "more blocks than there are": ([50], 2, 1, (16, 16), Choosing(8, 4, 16, 16), None),
}
TABLE = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def visible(keys, choice, start, tokens):
    """As `dense` takes it: what a query sees, told by sets."""

    def of(t, group):
        at = start + t
        if isinstance(keys, Choosing):
            return [c for c in range(tokens) if c * keys.stride + keys.length - 1 <= at]
        seen = range(max(0, at - keys.window + 1) if keys.window else 0, at + 1)
        blocks = None if choice is None else set(choice[t, group].tolist())
        return [s for s in seen if blocks is None or s // keys.block in blocks]

    return of


def masked(q, k, v, rows, keys, choice, scale):
    parts = []
    for q0, count, k0, held, start in rows.tolist():
        a, b = slice(q0, q0 + count), slice(k0, k0 + held)
        see = visible(keys, None if choice is None else choice[a], start, held)
        parts.append(dense(q[a], k[b], v[b], see, scale))
    return [torch.cat(p) for p in zip(*parts, strict=True)]


def branches(case, seed=0, dtype=torch.float32):
    """(keys seen, k and v, sequences, choice) of every branch, and q and the scale."""
    lengths, heads, groups, sizes, rule, starts = case
    q, tokens, fewer, rows, fewer_rows = packed(seed, lengths, heads, groups, sizes, rule, starts, dtype)
    scale = sizes[0] ** -0.5
    choice = reference.choose(q, fewer[0], fewer_rows, rule, scale)
    return (
        q,
        scale,
        [
            (rule, fewer, fewer_rows, None),
            (Keys(block=rule.block), tokens, rows, choice),
            (Keys(window=20), tokens, rows, None),
            (Keys(), tokens, rows, None),
        ],
    )


@TABLE
def test_the_reference_is_masked_dense_attention(case):
    q, scale, found = branches(case)
    for keys, (k, v), rows, choice in found:
        out, lse = reference.attend(q.double(), k.double(), v.double(), rows, keys, choice, scale)
        expected, log = masked(q, k, v, rows, keys, choice, scale)
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-13)
        torch.testing.assert_close(lse, log, rtol=0, atol=1e-12)


@TABLE
@pytest.mark.parametrize("at", levels())
def test_kernels_are_within_the_rounding_of_fp32(case, at):
    q, scale, found = branches(case)
    for keys, (k, v), rows, choice in found:
        expected, log = reference.attend(q.double(), k.double(), v.double(), rows, keys, choice, scale)
        if isinstance(keys, Choosing):
            out, lse, _ = cpu.compressed(q, k, v, rows, keys, scale, at=at)
        else:
            out, lse = cpu.attend(q, k, v, rows, keys, choice, scale, at=at)
        assert (out - expected).abs().max() <= bound(q, k, v, scale)
        torch.testing.assert_close(lse, log.float(), rtol=1e-5, atol=1e-5)


@TABLE
@pytest.mark.parametrize("at", levels())
def test_kernels_have_the_reference_s_gradients(case, at):
    q, scale, found = branches(case)
    for keys, (k, v), rows, choice in found:
        out, lse = reference.attend(q.double(), k.double(), v.double(), rows, keys, choice, scale)
        up = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        wide = [t.double() for t in (up, q, k, v)]
        expected = reference.attend_backward(*wide, out, lse, rows, keys, choice, scale)
        got = cpu.attend_backward(up, q, k, v, out.float(), lse.float(), rows, keys, choice, scale, at=at)
        for a, b in zip(got, expected, strict=True):
            # every term is a share times sums over d; up to 32 heads and 300 queries add up in one key's gradient
            assert (a - b).abs().max() <= 4e-6 * max(1.0, b.abs().max().item()) * len(q) ** 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_kernels_compute_halves_in_fp32(dtype):
    q, scale, found = branches(CASES["3 heads of each of 2"], dtype=dtype)
    for keys, (k, v), rows, choice in found:
        expected, _ = reference.attend(q.double(), k.double(), v.double(), rows, keys, choice, scale)
        if isinstance(keys, Choosing):
            out, _, taken = cpu.compressed(q, k, v, rows, keys, scale)
            assert torch.equal(taken, reference.choose(q, k, rows, keys, scale))
        else:
            out, _ = cpu.attend(q, k, v, rows, keys, choice, scale)
        assert out.dtype == dtype
        assert (out - expected).abs().max() <= bound(q, k, v, scale, dtype)


def gradients(arguments, rule):
    leaves = [t.detach().requires_grad_() for a in arguments for t in (a if isinstance(a, Branch) else (a,))]
    q, ck, cv, k, v, wk, wv, gates = leaves

    def run(*_):
        return nsa_attention(q, Branch(ck, cv), Branch(k, v), Branch(wk, wv), gates, rule=rule, tokens=6)

    return leaves, run


def test_gradients_in_float64():
    rule = Choosing(length=2, stride=1, block=2, blocks=3)
    leaves, run = gradients(layer(0, 1, 9, 2, 1, (2, 3), rule, torch.float64), rule)
    assert gradcheck(run, leaves, atol=1e-7)


def test_training_on_the_processor_has_the_reference_s_gradients():
    arguments = layer(3, 2, 75, 4, 2, (16, 24), SMALL)
    leaves, run = gradients(arguments, SMALL)
    up = torch.randn(2, 75, 4, 24, generator=torch.Generator().manual_seed(4))
    got = torch.autograd.grad(run(), leaves, up)
    with backend.use("reference"):
        wide = [Branch(*(t.double() for t in a)) if isinstance(a, Branch) else a.double() for a in arguments]
        leaves, run = gradients(wide, SMALL)
        expected = torch.autograd.grad(run(), leaves, up.double())
    for a, b in zip(got, expected, strict=True):
        assert (a - b).abs().max() <= 1e-5 * max(1.0, b.abs().max().item())


def test_inference_gives_what_training_gives():
    arguments = layer(5, 1, 130, 8, 2, (32, 32), SMALL)
    _, run = gradients(arguments, SMALL)
    with torch.no_grad():
        alone = run()
    torch.testing.assert_close(alone, run().detach(), rtol=0, atol=2e-6)


def test_sequences_of_a_batch_do_not_see_each_other():
    q, compressed, selected, window, gates = layer(6, 1, 90, 4, 2, (16, 16), SMALL)
    ends = [33, 34, 90]
    fewer = [SMALL.keys(n) for n in (33, 1, 56)]
    compressed = Branch(*(t[:, : sum(fewer)] for t in compressed))
    together = nsa_attention(q, compressed, selected, window, gates, rule=SMALL, tokens=20, ends=ends)
    at, key = 0, 0
    for length, keys in zip((33, 1, 56), fewer, strict=True):
        rows, made = slice(at, at + length), slice(key, key + keys)
        parts = [Branch(*(t[:, s] for t in b)) for b, s in ((compressed, made), (selected, rows), (window, rows))]
        alone = nsa_attention(q[:, rows], *parts, gates[:, rows], rule=SMALL, tokens=20)
        assert torch.equal(together[:, rows], alone)
        at, key = at + length, key + keys


@pytest.mark.parametrize(
    ("importance", "expected"),
    [
        ("overlap", [(-1, 1), (0, 2), (1, 2), (2, 2), (3, 1)]),
        ("forward", [(0, 1), (1, 2), (2, 2), (3, 2), (4, 1)]),
        ("literal", [(-4, 1), (-3, 2), (-2, 2), (-1, 2), (0, 1)]),
    ],
)
def test_readings_of_equation_9(importance, expected):
    assert offsets(Choosing(importance=importance)) == expected


@pytest.mark.parametrize("kind", ["mlp", "linear", "mean"])
def test_compressed_keys_are_of_runs_of_tokens(kind):
    torch.manual_seed(0)
    phi = Compression(6, SMALL, kind=kind, heads=2)
    for weight in phi.parameters():
        torch.nn.init.normal_(weight)
    rows = torch.randn(3, 30, 2, 6)
    found = phi(rows)
    assert found.shape == (3, SMALL.keys(30), 2, 6)
    for c in range(found.shape[1]):
        run = rows[:, c * 4 : c * 4 + 8]
        torch.testing.assert_close(phi(run), found[:, c : c + 1], rtol=1e-5, atol=1e-5)
        if kind == "mean":
            torch.testing.assert_close(run.mean(1), found[:, c])
    assert phi(rows[:, :7]).shape[1] == 0


def test_nan_reaches_only_those_that_see_it():
    q, compressed, selected, window, gates = layer(7, 1, 64, 4, 1, (16, 16), SMALL)
    q[0, 40] = torch.nan
    clean = nsa_attention(q.nan_to_num(0), compressed, selected, window, gates, rule=SMALL)
    got = nsa_attention(q, compressed, selected, window, gates, rule=SMALL)
    assert got[0, 40].isnan().all()
    others = torch.arange(64) != 40
    assert torch.equal(got[0, others], clean[0, others])


B = Branch
GOOD = layer(0, 1, 40, 4, 2, (16, 8), SMALL)


def cut(branch, rows):
    return Branch(*(t[:, :rows] for t in branch))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({0: GOOD[0][0]}, {}, "nsa_attention: q has shape [40, 4, 16], expected [batch, length, heads, d_k]"),
        ({0: GOOD[0].int()}, {}, "nsa_attention: q is int32, expected float32, bfloat16, float16, float64"),
        ({1: cut(GOOD[1], 5)}, {}, "nsa_attention: compressed.keys has 5 rows, expected 9 by length 8 and stride 4"),
        (
            {2: cut(GOOD[2], 39)},
            {},
            "nsa_attention: selected.keys has shape [1, 39, 2, 16], expected [batch, length, kv_heads, d_k] with "
            "batch = 1 (of q), length = 40 (of q), kv_heads = 2 (of compressed.keys), d_k = 16 (of q)",
        ),
        ({4: GOOD[4][..., :2]}, {}, "nsa_attention: gates has shape [1, 40, 4, 2], expected [batch, length, heads, 3]"),
        ({0: GOOD[0].expand(1, 40, 4, 16)[:, :, :3]}, {}, "nsa_attention: 3 heads over 2 kv_heads, expected 1 to 32"),
        (
            {},
            {"rule": Choosing(importance="overlaps")},
            "nsa_attention: no importance 'overlaps'; did you mean overlap",
        ),
        ({}, {"rule": Choosing(length=9)}, "nsa_attention: stride 16 must divide length 9 and block 64"),
        ({}, {"rule": Choosing(blocks=2)}, "1 initial and 2 local blocks are more than blocks = 2"),
        ({}, {"tokens": 0}, "nsa_attention: tokens = 0, expected at least 1, the query's own"),
        ({}, {"ends": [10, 39]}, "nsa_attention: ends must rise to 40 rows of a batch of 1, got [10, 39]"),
        ({0: GOOD[0].to("meta")}, {}, "nsa_attention: compressed.keys is on cpu, expected meta, where q is"),
    ],
)
def test_bad_arguments_are_named_in_one_line(change, options, message):
    arguments = [change.get(i, a) for i, a in enumerate(GOOD)]
    with pytest.raises(InputError) as error:
        nsa_attention(*arguments, **{"rule": SMALL, **options})
    assert str(error.value).startswith(message) or message in str(error.value)
    assert "\n" not in str(error.value)
