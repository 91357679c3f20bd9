"""Devices of a plan; tokens of a batch, and how many of them each attends to."""

import pytest

from xinqiao.size.plan import Batch, Plan


@pytest.mark.parametrize(
    ("plan", "devices"), [(Plan(), 1), (Plan(tp=8), 8), (Plan(2, 3, 5, 10, 7), 210), (Plan(dp=4, ep=4), 4)]
)
def test_devices_share_experts_but_are_not_more_for_it(plan, devices):
    assert plan.devices == devices


@pytest.mark.parametrize("window", [0, 1, 5, 16, 24, 25, 100])
@pytest.mark.parametrize(("length", "before"), [(1, 0), (16, 0), (16, 9), (7, 30)])
def test_what_a_prompts_tokens_attend_to_is_counted_token_by_token(length, before, window):
    seen = [min(before + i, window or before + i) for i in range(1, length + 1)]
    batch = Batch(prefill=length, length=length, before=before)
    assert batch.seen(window) == pytest.approx(sum(seen) / length)


@pytest.mark.parametrize(
    ("batch", "tokens", "results"),
    [
        (Batch(sequences=8, context=100), 8, 8),
        (Batch(sequences=8, context=100, queries=3), 24, 24),
        (Batch(prefill=600, length=200), 600, 3),
        (Batch(prefill=600, length=200, trained=True), 600, 600),
        (Batch(sequences=8, context=100, prefill=100, length=200), 108, 8.5),
        (Batch(), 0, 0),
    ],
)
def test_tokens_of_a_batch_and_rows_of_its_head(batch, tokens, results):
    assert (batch.tokens, batch.results) == (tokens, results)
