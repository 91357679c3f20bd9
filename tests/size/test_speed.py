"""Throughput and latency from iterations."""

import pytest

from tests.size.layers import model
from tests.size.test_iteration import engine
from xinqiao.size.iteration import iteration
from xinqiao.size.plan import Batch, Plan
from xinqiao.size.speed import Drafts, Past, decode, loaded, loaded_batch, prefill, static


def test_decoding_makes_a_token_of_each_sequence_in_a_step():
    made = engine()
    found = decode(made, 64, 1000)
    assert found.tokens == 64
    assert found.time == iteration(made, Batch(sequences=64, context=1000)).time
    assert found.per_second == 64 / found.time.seconds


def test_a_pipelines_groups_of_sequences_follow_one_another():
    made = engine(Plan(pp=3))
    found = decode(made, 96, 1000)
    assert found.tokens == 96
    assert found.time == iteration(made, Batch(sequences=32, context=1000)).time


@pytest.mark.parametrize(("drafts", "tokens"), [(Drafts(), 64), (Drafts(1, 0.7), 64 * 1.7), (Drafts(2, 0.0), 64)])
def test_drafted_tokens_cost_a_query_each_and_bring_what_is_kept(drafts, tokens):
    made = engine()
    found = decode(made, 64, 1000, drafts)
    assert found.tokens == pytest.approx(tokens)
    assert found.time == iteration(made, Batch(sequences=64, context=1000, queries=1 + drafts.tokens)).time


@pytest.mark.parametrize(("sequences", "length"), [(1, 100), (4, 2048), (40, 2048), (1, 20000)])
def test_prompts_are_as_many_iterations_as_the_chunk_makes(sequences, length):
    made = engine(chunk=8192)
    found = prefill(made, sequences, length)
    chunk = min(sequences * length, max(8192, length))
    one = iteration(made, Batch(prefill=chunk, length=length)).time.seconds
    assert found.tokens == sequences * length
    assert found.time.seconds == pytest.approx(one * sequences * length / chunk)


def test_what_a_prefix_cache_holds_is_not_computed_again_but_attended_to():
    whole, rest, alone = (prefill(engine(), 1, n, before) for n, before in ((4096, 0), (1024, 3072), (1024, 0)))
    assert alone.time.seconds < rest.time.seconds < whole.time.seconds


def test_a_static_batch_is_its_prompts_and_every_step_at_its_own_context():
    made = engine()
    found = static(made, 16, 512, 64)
    steps = sum(decode(made, 16, 512 + i + 0.5).time.seconds for i in range(64))
    assert found.tokens == 16 * 64
    assert found.time.seconds == pytest.approx(prefill(made, 16, 512).time.seconds + steps, rel=1e-3)


@pytest.mark.parametrize(("sequences", "inputs", "outputs"), [(64, 512, 256), (64, 0.5, 256), (256, 100, 300)])
def test_a_loaded_engine_takes_in_as_many_prompts_as_it_finishes(sequences, inputs, outputs):
    """Each iteration makes a token of each sequence, so 1/outputs of the sequences finish, and as many prompts come."""
    batch = loaded_batch(engine(), sequences, inputs, outputs)
    assert batch.prefill / inputs == pytest.approx(sequences / outputs)
    assert batch.context == inputs + outputs / 2


@pytest.mark.parametrize(
    ("past", "before", "context"), [(Past(), 0, 640), (Past(100), 100, 740), (Past(100, 9000), 100, 9000)]
)
def test_what_is_there_already(past, before, context):
    batch = loaded_batch(engine(), 64, 512, 256, past)
    assert (batch.before, batch.context, batch.length) == (before, context, 512)


def test_a_loaded_engine_is_slower_than_one_whose_prompts_are_elsewhere():
    made = engine()
    alone, busy = decode(made, 64, 768), loaded(made, 64, 512, 512)
    assert busy.per_second < alone.per_second


def test_prompts_beyond_a_chunk_hold_up_the_others():
    small, large = (loaded(engine(chunk=n), 1024, 4096, 64) for n in (8192, 1 << 20))
    assert small.per_second < large.per_second
    assert loaded_batch(engine(chunk=8192), 1024, 4096, 64).prefill == 8192


@pytest.mark.parametrize("made", [model(layers=4), model(layers=8)], ids=["4 layers", "8 layers"])
def test_a_pipeline_of_two_is_at_most_twice_as_fast(made):
    one, two = decode(engine(Plan(), made), 512, 1000), decode(engine(Plan(pp=2), made), 1024, 1000)
    assert one.per_second < two.per_second < 2.001 * one.per_second
