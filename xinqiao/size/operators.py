"""The operators of one iteration of a model on one device of a plan, as kernels and messages."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from xinqiao.cost.kernel import Kernel, elementwise, gemm, stored
from xinqiao.size.attention import attention, cache_bytes
from xinqiao.size.context import Context
from xinqiao.size.model import Attention, Experts, Layer

EVERY_SERVER = 1 << 20


class Message(NamedTuple):
    """One collective over `ranks` devices that are `stride` apart.

    kind    'all_reduce', 'all_gather', 'send', 'dispatch' or 'combine'
    bytes   of one device's tensor, for a gather of the whole; of one token for dispatch and combine, which have
            `tokens` that go to `top_k` experts each, and through at most `servers` servers (0: straight to each expert)
    """

    kind: str
    bytes: float
    ranks: int
    stride: int = 1
    tokens: float = 0.0
    top_k: int = 0
    servers: int = 0


class Operator(NamedTuple):
    """`times` of a kernel or message in one iteration. part: 'attention', 'experts', … of the model."""

    name: str
    part: str
    what: Kernel | Message
    times: float = 1.0


def operators(context: Context) -> Iterator[Operator]:
    """Of one iteration: embedding, this plan's share of every layer, head and sampling."""
    found = _operators(context)
    return map(_wide, found) if context.formats.plain == "fp32" else found


def _wide(operator: Operator) -> Operator:
    """The same where numbers between products take 32 bits instead of 16."""
    kernel = operator.what
    if not isinstance(kernel, Kernel) or kernel.kind not in ("elementwise", "norm"):
        return operator
    shape = tuple(2 * size for size in kernel.shape)
    return operator._replace(what=kernel._replace(bytes=2 * kernel.bytes, shape=shape))


def _operators(context: Context) -> Iterator[Operator]:
    model, plan, tokens, batch = context.model, context.plan, context.tokens, context.batch
    yield Operator("embedding", "embedding", elementwise(tokens * model.hidden))
    if context.software.written.positions:
        length = batch.length if batch.prefill else batch.queries
        angles = context.software.written.positions.over(length * model.layers[0].attention.head_dim)
        yield Operator("positions", "embedding", angles)
    for layer in model.layers:
        for name, part, what, times in _layer(context, layer):
            yield Operator(name, part, what, times * layer.count)
    if plan.pp > 1:
        sent = Message("send", tokens * model.hidden * 2 / plan.tp, 2, plan.tp * plan.dp * plan.cp)
        yield Operator("next stage", "links", sent, plan.pp - 1)
    yield from _head(context)


def _head(context: Context) -> Iterator[Operator]:
    model, tp, rows = context.model, context.plan.tp, context.batch.results / context.plan.cp
    written = context.software.written
    every = written.norm.over(context.tokens * model.hidden) if written.residual else None
    yield Operator("last norm", "head", every or elementwise(rows * model.hidden))
    yield Operator("head", "head", gemm(rows, model.vocab / tp, model.hidden, context.formats.plain))
    if tp > 1:
        yield Operator("logits", "links", Message("all_gather", rows * model.vocab * 2, tp))
    yield Operator("sampling", "head", written.sampling.over(rows * model.vocab))


def _layer(context: Context, layer: Layer) -> Iterator[Operator]:
    numbers = context.tokens * context.model.hidden
    streams = max(context.model.streams, 1)  # of hyper-connections, each read and written
    norm, residual = context.software.written.norm, context.software.written.residual
    norm = norm._replace(passes=norm.passes + 2 * (streams - 1))
    yield Operator("norms and residuals", "norms", norm.over(numbers), layer.norms)
    if residual:
        yield Operator("norms and residuals", "norms", residual.over(numbers), 2)
    yield from _named("attention", attention(context, layer.attention))
    yield from _gathered(context, layer.attention)
    yield from _reduced(context, "attention")
    if layer.inner:
        yield from _feed_forward(context, "mlp", layer.inner, gated=layer.gated)
        yield from _reduced(context, "mlp")
    if layer.experts:
        yield from _experts(context, layer.experts)


def _named(part: str, kernels: Iterable[tuple[str, Kernel]]) -> Iterator[Operator]:
    for name, kernel in kernels:
        yield Operator(name, part, kernel)


def _gathered(context: Context, layer: Attention) -> Iterator[Operator]:
    """Context parallelism: what all of a prompt keeps in the cache, and the partial results of decoding."""
    batch, cp, tp = context.batch, context.plan.cp, context.plan.tp
    if cp == 1:
        return
    nbytes = 0.0
    if batch.prefill:
        whole = cache_bytes(layer, context.formats.cache, batch.before + batch.length, tp)
        nbytes += batch.prefill / batch.length * whole
    if not layer.conv:
        width = layer.kv_rank or layer.value_dim
        nbytes += batch.sequences * batch.queries * layer.heads / tp * width * 2
    if nbytes:
        yield Operator("context", "links", Message("all_gather", nbytes, cp, tp))


def _reduced(context: Context, part: str) -> Iterator[Operator]:
    if context.plan.tp > 1:
        nbytes = context.tokens * context.model.hidden * 2
        yield Operator(f"{part} all-reduce", "links", Message("all_reduce", nbytes, context.plan.tp))


def _feed_forward(context: Context, part: str, inner: int, *, gated: bool = True) -> Iterator[Operator]:
    hidden, width = context.model.hidden, inner / context.plan.tp
    name, written = f"{part} gate and up" if gated else f"{part} up", context.software.written
    firsts = (width, width) if gated and written.split else (2 * width if gated else width,)
    for first in firsts:
        yield from _named(part, context.linear(name, first, hidden))
    activation = written.activation.over if gated else elementwise
    yield Operator(f"{part} activation", part, activation(context.tokens * width))
    yield from _named(part, context.linear(f"{part} down", hidden, width))


def _experts(context: Context, experts: Experts) -> Iterator[Operator]:
    """Router, shared experts, and routed ones: split by `ep`, or by `tp` where ep is 1.

    Where experts spread over more devices than hold the same tokens, tokens travel, a share of them from each device.
    """
    plan, hidden, tokens = context.plan, context.model.hidden, context.tokens
    yield Operator("router", "router", gemm(tokens, experts.count, hidden, context.formats.plain))
    yield Operator("router choice", "router", context.software.written.router.over(tokens * experts.count))
    if experts.shared_inner:
        yield from _feed_forward(context, "shared", experts.shared_inner)
    spread = plan.ep > plan.tp
    own = tokens / plan.tp if spread else tokens
    if spread:
        code = stored("fp8") if context.quantised else 2.0
        yield Operator("dispatch", "links", _route(context, experts, "dispatch", own, hidden * code))
    yield from _named("experts", _routed(context, experts, own * plan.ep if spread else own))
    if spread:
        yield Operator("combine", "links", _route(context, experts, "combine", own, hidden * 2.0))
    if plan.tp > 1:
        kind = "all_gather" if spread and not experts.shared_inner else "all_reduce"
        yield Operator("experts output", "links", Message(kind, tokens * hidden * 2, plan.tp))


def _route(context: Context, experts: Experts, kind: str, tokens: float, nbytes: float) -> Message:
    """Prompts travel once to each server that has experts of theirs; decoded tokens straight to each expert.

    A batch of both travels as most of it does.
    """
    servers = 0
    if context.batch.prefill > context.batch.sequences * context.batch.queries:
        servers = experts.top_groups if experts.groups > 1 else EVERY_SERVER
    return Message(kind, nbytes, context.plan.ep, 1, tokens, experts.top_k, servers)


def _routed(context: Context, experts: Experts, tokens: float) -> Iterator[tuple[str, Kernel]]:
    """Two grouped products over the experts of one device that a token meets; `tokens` of all that share them.

    Where `ep` is below `tp`, the devices that hold the same experts split each.
    """
    plan, hidden, formats = context.plan, context.model.hidden, context.formats
    form, inputs = formats.experts or formats.weights, formats.activations
    inner = experts.inner / max(plan.tp / plan.ep, 1.0)
    local = (experts.count + context.redundant) / plan.ep
    pairs = tokens * experts.top_k / plan.ep * (context.imbalance if plan.ep > 1 else 1.0)
    met = local * (1 - (1 - experts.top_k / experts.count) ** tokens)
    hit = max(met, min(local, pairs, 1.0))
    yield "experts permute", context.software.written.permute.over(pairs * hidden)
    yield from context.quantise("experts gate and up", pairs * hidden)
    yield "experts gate and up", gemm(pairs / hit, 2 * inner, hidden, form, inputs=inputs, groups=hit)
    yield "experts activation", context.software.written.activation.over(pairs * inner)
    yield from context.quantise("experts down", pairs * inner)
    yield "experts down", gemm(pairs / hit, hidden, inner, form, inputs=inputs, groups=hit)
    yield "experts sum", context.software.written.collect.over(pairs * hidden)
