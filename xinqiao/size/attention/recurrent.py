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
    """Decode reads and writes the state; prefill computes chunks of tokens as products of matrices."""
    hidden, tp, batch = context.model.hidden, context.plan.tp, context.batch
    keys, values = layer.kv_heads * layer.head_dim / tp, layer.heads * layer.value_dim / tp
    yield from context.linear("attention qkvz", 2 * keys + 2 * values, hidden)
    yield "attention convolution", elementwise(context.tokens * (2 * keys + values))
    heads, pair = layer.heads / tp, layer.head_dim * layer.value_dim
    if batch.sequences:
        state = batch.sequences * state_bytes(layer) / tp
        flops = 6 * batch.sequences * batch.queries * heads * pair
        yield "attention state", Kernel("decode_attention", "fp32", flops, state, state)
    if batch.prefill:
        inside = CHUNK * (layer.head_dim + layer.value_dim)
        flops = 2 * batch.prefill * heads * (3 * pair + 2 * inside)
        moved = batch.prefill * (2 * keys + 3 * values) * 2
        yield "attention chunks", Kernel("prefill_attention", context.formats.attention, flops, moved)
    yield "attention gate and norm", elementwise(context.tokens * values, passes=3)
    yield from context.linear("attention output", hidden, values)
