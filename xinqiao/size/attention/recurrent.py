"""Linear attention by the gated delta rule (arXiv:2412.06464): a state of fixed size instead of a cache."""

from collections.abc import Iterator

from xinqiao.cost.kernel import Kernel, elementwise, stored
from xinqiao.size.context import Context
from xinqiao.size.model import Attention

CHUNK = 64  # tokens that prefill computes at once


def state_bytes(layer: Attention) -> float:
    """Of one sequence in one layer: a [key, value] matrix a head in fp32, and what the convolution looks back at."""
    looks = (layer.conv - 1) * (2 * layer.kv_heads * layer.head_dim + layer.heads * layer.value_dim)
    return layer.heads * layer.head_dim * layer.value_dim * stored("fp32") + looks * stored("bf16")


def recurrent(context: Context, layer: Attention) -> Iterator[tuple[str, Kernel]]:
    """Decode reads and writes the fp32 state, which bounds it; prefill multiplies chunks of tokens as matrices."""
    hidden, tp, batch = context.model.hidden, context.plan.tp, context.batch
    keys, values = layer.kv_heads * layer.head_dim / tp, layer.heads * layer.value_dim / tp
    yield from context.linear("attention qkvz", 2 * keys + 2 * values, hidden)
    yield "attention convolution", elementwise(context.tokens * (2 * keys + values))
    heads, pair = layer.heads / tp, layer.head_dim * layer.value_dim
    if batch.sequences:
        mine = batch.sequences / context.plan.cp
        state = mine * state_bytes(layer) / tp
        flops = 6 * mine * batch.queries * heads * pair
        yield "attention state", Kernel("decode_attention", context.formats.attention, flops, state, state)
    if batch.prefill:
        mine = batch.prefill / context.plan.cp
        inside = CHUNK * (layer.head_dim + layer.value_dim)
        flops = 2 * mine * heads * (3 * pair + 2 * inside)
        moved = mine * (2 * keys + 3 * values) * 2
        yield "attention chunks", Kernel("prefill_attention", context.formats.attention, flops, moved)
    yield "attention gate and norm", elementwise(context.tokens * values, passes=3)
    yield from context.linear("attention output", hidden, values)
