"""FLOPs, bytes and cache of every kind of attention, against sums written out here."""

import pytest

from tests.size.layers import (
    COARSE,
    COMPRESSED,
    DIM,
    DSA,
    GQA,
    HEADS,
    HIDDEN,
    KV,
    LINEAR,
    MLA,
    WINDOW,
    context,
    decoding,
    model,
    prompts,
)  # fmt: skip
from xinqiao.size.attention import attention, cache_bytes
from xinqiao.size.plan import Formats, Plan

KINDS = {
    "GQA": GQA, "window": WINDOW, "MLA": MLA, "DSA": DSA, "compressed": COMPRESSED, "coarse": COARSE, "linear": LINEAR,
}  # fmt: skip


def kernels(layer, batch, **more):
    """Name → kernel; each name occurs once."""
    made = list(attention(context(batch, model(layer), **more), layer))
    assert len(dict(made)) == len(made)
    return dict(made)


def core(layer, batch, **more):
    """(FLOPs, bytes of cache) of the kernels that are not products with weights."""
    made = [k for k in kernels(layer, batch, **more).values() if k.kind in ("prefill_attention", "decode_attention")]
    return sum(k.flops for k in made), sum(k.cache for k in made)


LATENT = 256 + 32  # numbers of a token's latent
STATE = 64 * 32  # of one head


@pytest.mark.parametrize(
    ("kind", "form", "tokens", "nbytes"),
    [
        ("GQA", "bf16", 1000, 1000 * 2 * KV * DIM * 2),
        ("GQA", "fp8", 1000, 1000 * 2 * KV * DIM),
        ("window", "bf16", 60, 60 * 2 * KV * DIM * 2),
        ("window", "bf16", 1000, 100 * 2 * KV * DIM * 2),
        ("MLA", "bf16", 1000, 1000 * LATENT * 2),
        ("DSA", "bf16", 1000, 1000 * (LATENT * 2 + 32)),
        ("compressed", "bf16", 1000, (32 + 250) * 128 * 2 + 250 * 32),
        ("coarse", "bf16", 1280, (32 + 20) * 128 * 2),
        ("linear", "bf16", 10, HEADS * STATE * 4 + 3 * (2 * 8 * 64 + HEADS * 32) * 2),
        ("linear", "bf16", 10000, HEADS * STATE * 4 + 3 * (2 * 8 * 64 + HEADS * 32) * 2),
    ],
)
def test_what_a_layer_keeps_of_a_sequence(kind, form, tokens, nbytes):
    assert cache_bytes(KINDS[kind], form, tokens) == nbytes


@pytest.mark.parametrize(
    ("kind", "tp", "share"),
    [("GQA", 2, 1 / 2), ("GQA", 4, 1 / 4), ("GQA", 16, 1 / 4), ("MLA", 8, 1), ("DSA", 8, 1), ("linear", 4, 1 / 4)],
)
def test_devices_of_a_tensor_parallel_group_split_heads_but_repeat_what_all_heads_share(kind, tp, share):
    layer = KINDS[kind]
    assert cache_bytes(layer, "bf16", 1000, tp) == share * cache_bytes(layer, "bf16", 1000)


@pytest.mark.parametrize(
    ("kind", "batch", "flops", "cache"),
    [
        ("GQA", decoding(8, 1000), 8 * HEADS * 1000 * 2 * (DIM + DIM), 8 * 1000 * 2 * KV * DIM * 2),
        ("GQA", decoding(8, 1000, 3), 24 * HEADS * 1000 * 2 * (DIM + DIM), 8 * 1000 * 2 * KV * DIM * 2),
        ("window", decoding(8, 1000), 8 * HEADS * 100 * 2 * (DIM + DIM), 8 * 100 * 2 * KV * DIM * 2),
        ("MLA", decoding(8, 1000), 8 * HEADS * 1000 * 2 * (LATENT + 256), 8 * 1000 * LATENT * 2),
        ("MLA", decoding(8, 1000, 2), 16 * HEADS * 1000 * 2 * (LATENT + 256), 8 * 1000 * LATENT * 2),
        ("DSA", decoding(8, 50), 8 * HEADS * 50 * 2 * (LATENT + 256), 8 * 50 * LATENT * 2),
        ("DSA", decoding(8, 1000, 2), 16 * HEADS * 64 * 2 * (LATENT + 256), 16 * 64 * LATENT * 2),
        ("compressed", decoding(8, 20), 8 * HEADS * (20 + 5) * 2 * 256, 8 * (20 + 5) * 128 * 2),
        ("compressed", decoding(8, 1000), 8 * HEADS * (32 + 16) * 2 * 256, 8 * (32 + 16) * 128 * 2),
        ("coarse", decoding(8, 1280), 8 * HEADS * (32 + 20) * 2 * 256, 8 * (32 + 20) * 128 * 2),
        ("linear", decoding(8, 1000), 8 * HEADS * STATE * 6, 8 * cache_bytes(LINEAR, "bf16", 1)),
    ],
)
def test_one_step_of_decoding(kind, batch, flops, cache):
    assert core(KINDS[kind], batch) == (flops, cache)


def over(length, most, before=0):
    """Keys that all tokens of a prompt see together."""
    return sum(min(before + i, most) for i in range(1, length + 1))


@pytest.mark.parametrize(
    ("kind", "batch", "flops"),
    [
        ("GQA", prompts(200, 200), HEADS * over(200, 1e9) * 2 * (DIM + DIM)),
        ("GQA", prompts(600, 200), 3 * HEADS * over(200, 1e9) * 2 * (DIM + DIM)),
        ("GQA", prompts(200, 200, 50), HEADS * over(200, 1e9, 50) * 2 * (DIM + DIM)),
        ("window", prompts(200, 200), HEADS * over(200, 100) * 2 * (DIM + DIM)),
        ("MLA", prompts(200, 200), HEADS * over(200, 1e9) * 2 * (96 + 64)),
        ("DSA", prompts(200, 200), HEADS * over(200, 64) * 2 * (LATENT + 256)),
        ("compressed", prompts(400, 400), HEADS * (over(400, 32) + over(400, 64) / 4) * 2 * 256),
        ("coarse", prompts(400, 400), HEADS * (over(400, 32) + over(400, 1e9) / 64) * 2 * 256),
    ],
)
def test_prompts(kind, batch, flops):
    assert core(KINDS[kind], batch)[0] == pytest.approx(flops)


@pytest.mark.parametrize(("kind", "held"), [("GQA", 50), ("window", 50)])
def test_a_prompt_reads_what_is_held_of_it(kind, held):
    assert core(KINDS[kind], prompts(600, 200, 50))[1] == 3 * held * 2 * KV * DIM * 2
    assert core(KINDS[kind], prompts(600, 200))[1] == 0


def test_a_prompt_of_linear_attention_grows_with_its_tokens_only():
    one, four = (core(LINEAR, prompts(n, n))[0] for n in (256, 1024))
    assert four == 4 * one


def test_software_that_reads_a_kv_head_for_every_query_head_reads_more():
    assert core(GQA, decoding(), stack="tensorrt-llm-0")[1] == HEADS / KV * core(GQA, decoding())[1]


def weights(layer, batch, **more):
    """FLOPs of products with weights."""
    made = kernels(layer, batch, **more).values()
    return sum(k.flops for k in made if k.kind in ("gemm", "grouped_gemm"))


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "linear"])
@pytest.mark.parametrize("batch", [decoding(8, 1000), prompts(600, 200)], ids=["decode", "prompt"])
def test_every_token_multiplies_with_every_parameter_once(kind, batch):
    layer = KINDS[kind]
    matrices = [m for m in model(layer, layers=1).matrices() if m.part in ("attention", "indexer") and m.k > 1]
    counted = sum(m.parameters for m in matrices if not m.name.endswith("positions"))
    assert weights(layer, batch) == pytest.approx(2 * batch.tokens * counted)


@pytest.mark.parametrize(("tokens", "scored"), [(decoding(8, 1000), 8 * 1000), (prompts(200, 200), over(200, 1e9))])
def test_the_indexer_scores_every_key(tokens, scored):
    assert kernels(DSA, tokens)["indexer scores"].flops == 2 * 8 * 32 * scored


def test_the_indexer_runs_in_8_bits_where_products_do():
    made = kernels(DSA, decoding(), formats=Formats(weights="int8"))
    assert made["indexer scores"].format == "int8"
    assert kernels(DSA, decoding())["indexer scores"].format == "bf16"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [decoding(8, 1000), prompts(600, 200)], ids=["decode", "prompt"])
@pytest.mark.parametrize("plan", [Plan(tp=4), Plan(cp=2)], ids=["tp", "cp"])
def test_devices_split_the_core_evenly(kind, batch, plan):
    whole, one = core(KINDS[kind], batch)[0], core(KINDS[kind], batch, plan=plan)[0]
    assert one == pytest.approx(whole / plan.devices)


def test_context_parallel_devices_split_the_tokens_that_an_indexer_chose():
    whole, one = core(DSA, decoding(8, 1000)), core(DSA, decoding(8, 1000), plan=Plan(cp=4))
    assert one == pytest.approx((whole[0] / 4, whole[1] / 4))


def test_a_gate_of_the_query_is_part_of_its_projection():
    gated = GQA.__class__(heads=HEADS, kv_heads=KV, head_dim=DIM, value_dim=DIM, query_gate=True)
    more = weights(gated, decoding()) - weights(GQA, decoding())
    assert more == 2 * 8 * HIDDEN * HEADS * DIM
