"""A thousand awkward cases each: the interpreted kernels choose what the reference chooses."""

import pytest
import torch

from tests.ops import test_dsa_index, test_moe_route, test_nsa_choice
from xinqiao.ops.reference import dsa as reference_dsa
from xinqiao.ops.reference import moe as reference_moe
from xinqiao.ops.reference import nsa as reference_nsa

dsa, moe, nsa = (pytest.importorskip(f"xinqiao.ops.triton.{name}") for name in ("dsa", "moe", "nsa"))
pytestmark = [pytest.mark.nightly, pytest.mark.triton, pytest.mark.timeout(7200)]
pytestmark += [pytest.mark.filterwarnings("ignore::RuntimeWarning")]  # NumPy's, of overflow
HUNDREDS = pytest.mark.parametrize("hundred", range(10))


def last_queries(q, rows, most=3):
    """Of each sequence: the interpreter takes a second for a few queries."""
    taken, made = [], []
    for first, count, key, keys, before in rows.tolist():
        n = min(count, most)
        made.append([sum(map(len, taken)), n, key, keys, before + count - n])
        taken.append(q[first + count - n : first + count])
    return torch.cat(taken), torch.tensor(made)


@HUNDREDS
def test_blocks(hundred):
    for seed in range(100 * hundred, 100 * hundred + 100):
        q, k, _, rows, rule, scale = test_nsa_choice.awkward(seed)
        q, rows = last_queries(q, rows)
        if q.dtype == torch.bfloat16:  # the interpreter has none
            q, k = q.half(), k.half()
        assert torch.equal(nsa.choose(q, k, rows, rule, scale), reference_nsa.choose(q, k, rows, rule, scale)), seed


@HUNDREDS
def test_tokens(hundred):
    generator = torch.Generator().manual_seed(hundred)
    for seed in range(100 * hundred, 100 * hundred + 100):
        sizes = [int(torch.randint(1, most, (), generator=generator)) for most in (3, 4, 7, 18, 70)]
        make = test_dsa_index.whole_numbers if seed % 2 else test_dsa_index.indexer
        start = torch.randint(0, sizes[-1], (sizes[0],), generator=generator)
        top_k = int(torch.randint(1, 24, (), generator=generator))
        arguments = (*make(*sizes, seed), None, start, top_k)
        assert torch.equal(dsa.dsa_index(*arguments), reference_dsa.dsa_index(*arguments)), (seed, sizes)


@HUNDREDS
def test_experts(hundred):
    for seed in range(100 * hundred, 100 * hundred + 100):
        logits, *rest = test_moe_route.awkward(seed)
        assert torch.equal(moe.choose(logits, *rest), reference_moe.choose(logits, *rest)), seed
