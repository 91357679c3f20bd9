"""Small models of one kind of layer, whose sums a reader can follow."""

from xinqiao.cost import software
from xinqiao.size.context import Context
from xinqiao.size.model import Attention, Experts, Layer, Model
from xinqiao.size.plan import Batch, Formats, Plan

HIDDEN, HEADS, KV, DIM = 1024, 16, 4, 64
GQA = Attention(heads=HEADS, kv_heads=KV, head_dim=DIM, value_dim=DIM)
WINDOW = Attention(heads=HEADS, kv_heads=KV, head_dim=DIM, value_dim=DIM, window=100)
MLA = Attention(heads=HEADS, kv_heads=1, head_dim=96, value_dim=64, q_rank=384, kv_rank=256, rope_dim=32)
DSA = Attention(
    heads=HEADS, kv_heads=1, head_dim=96, value_dim=64, q_rank=384, kv_rank=256, rope_dim=32, index_heads=8,
    index_dim=32, index_top_k=64,
)  # fmt: skip
COMPRESSED = Attention(
    heads=HEADS, kv_heads=1, head_dim=128, value_dim=128, q_rank=384, shared_kv=True, window=32, compress=4,
    index_heads=8, index_dim=32, index_top_k=16, out_groups=4, out_rank=192,
)  # fmt: skip
COARSE = Attention(
    heads=HEADS, kv_heads=1, head_dim=128, value_dim=128, q_rank=384, shared_kv=True, window=32, compress=64,
    out_groups=4, out_rank=192,
)  # fmt: skip
LINEAR = Attention(heads=HEADS, kv_heads=8, head_dim=64, value_dim=32, conv=4)
EXPERTS = Experts(count=32, top_k=4, inner=256, shared_inner=512)


def model(attention=GQA, *, inner=2048, experts=None, layers=3):
    layer = Layer(count=layers, attention=attention, inner=0 if experts else inner, experts=experts)
    return Model(
        name="small", family="", hidden=HIDDEN, vocab=4096, layers=(layer,), tied=False, context=1 << 20,
        stored="bf16", source="a test",
    )  # fmt: skip


ALONE, BF16 = Plan(), Formats()


def context(batch, made=None, plan=ALONE, formats=BF16, stack="generic", **more):
    return Context(made or model(), plan, formats, software.load(stack), batch, **more)


def decoding(sequences=8, length=1000, queries=1):
    return Batch(sequences=sequences, context=length, queries=queries)


def prompts(tokens=600, length=200, before=0):
    return Batch(prefill=tokens, length=length, before=before)
