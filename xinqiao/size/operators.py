"""The operators of one iteration of a model on one device of a plan, as kernels and messages."""

from collections.abc import Iterator
from typing import NamedTuple

from xinqiao.cost.kernel import Kernel, elementwise, gemm, stored
from xinqiao.cost.software import Written
from xinqiao.size.attention import attention
from xinqiao.size.model import Experts, Layer, Model
from xinqiao.size.plan import Batch, Formats, Plan


EVERY_SERVER = 1 << 20


class Message(NamedTuple):
    """One collective over `ranks` devices that are `stride` apart.

    kind    'all_reduce', 'all_gather', 'reduce_scatter', 'send', 'dispatch' or 'combine'
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


class Context(NamedTuple):
    """What every operator needs to know."""

    model: Model
    plan: Plan
    formats: Formats
    batch: Batch
    imbalance: float = 1.0  # load of the busiest device's experts over the mean
    redundant: int = 0  # copies of experts that balance the load
    fused_quantise: bool = True
    grouped_queries: bool = True  # decode reads a KV head once for all its query heads
    written: Written = Written()

    @property
    def tokens(self) -> float:
        """Of a replica that one device of a context-parallel group computes."""
        return self.batch.tokens / self.plan.cp

    def linear(self, n: float, k: float, *, rows: float = 0.0) -> list[Kernel]:
        """A linear layer; with the kernel that quantises its input where the software has one of its own."""
        rows = rows or self.tokens
        made = [gemm(rows, n, k, self.formats.weights, inputs=self.formats.activations)]
        if not self.fused_quantise and self.quantised:
            made.insert(0, elementwise(rows * k, passes=1.5))
        return made

    @property
    def quantised(self) -> bool:
        return stored(self.formats.activations or self.formats.weights) < 2

    def plain(self, n: float, k: float, *, rows: float = 0.0) -> Kernel:
        return gemm(rows or self.tokens, n, k, self.formats.plain)


def operators(context: Context) -> Iterator[Operator]:
    """Of one iteration: embedding, this plan's share of every layer, head and sampling."""
    model, plan, batch, written = context.model, context.plan, context.batch, context.written
    yield Operator("embedding", "embedding", elementwise(context.tokens * model.hidden))
    if written.positions:
        length = batch.length if batch.prefill else batch.queries
        yield Operator("positions", "embedding", written.positions.over(length * model.layers[0].attention.head_dim))
    for layer in model.layers:
        for made in layer_operators(context, layer):
            yield made._replace(times=made.times * layer.count)
    if plan.pp > 1:
        yield Operator("send", "links", Message("send", context.tokens * model.hidden * 2 / plan.tp, 2, plan.tp), plan.pp - 1)
    yield Operator("norm", "head", written.norm.over((context.tokens if written.residual else batch.results) * model.hidden))
    yield Operator("head", "head", context.plain(model.vocab / plan.tp, model.hidden, rows=batch.results))
    if plan.tp > 1:
        yield Operator("logits", "links", Message("all_gather", batch.results * model.vocab * 2, plan.tp))
    yield Operator("sampling", "head", written.sampling.over(batch.results * model.vocab))


def layer_operators(context: Context, layer: Layer) -> Iterator[Operator]:
    """Of one layer."""
    hidden, tokens = context.model.hidden, context.tokens
    yield Operator("norm", "norms", context.written.norm.over(tokens * hidden), 2)
    if context.written.residual:
        yield Operator("residual", "norms", context.written.residual.over(tokens * hidden), 2)
    yield from (Operator(name, part, kernel) for name, part, kernel in attention(context, layer.attention))
    yield from _reduced(context, "attention output")
    if layer.inner:
        yield from _feed_forward(context, "mlp", layer.inner, gated=layer.gated)
        yield from _reduced(context, "mlp output")
    if layer.experts:
        yield from _experts(context, layer.experts)


def _reduced(context: Context, name: str) -> Iterator[Operator]:
    if context.plan.tp > 1:
        nbytes = context.tokens * context.model.hidden * 2
        yield Operator(f"{name} all-reduce", "links", Message("all_reduce", nbytes, context.plan.tp))


def _feed_forward(context: Context, part: str, inner: int, *, gated: bool = True) -> Iterator[Operator]:
    hidden, width = context.model.hidden, inner / context.plan.tp
    firsts = [width, width] if gated and context.written.split else [2 * width] if gated else [width]
    for first in firsts:
        yield from _each(f"{part} gate and up" if gated else f"{part} up", part, context.linear(first, hidden))
    activation = context.written.activation.over if gated else elementwise
    yield Operator(f"{part} activation", part, activation(context.tokens * width))
    yield from _each(f"{part} down", part, context.linear(hidden, width))


def _each(name: str, part: str, kernels: list[Kernel]) -> Iterator[Operator]:
    for kernel in kernels:
        yield Operator(name if kernel.kind == "gemm" else f"{name}: quantise", part, kernel)


def _experts(context: Context, experts: Experts) -> Iterator[Operator]:
    """Router, shared experts, and routed ones: split by `ep`, or by `tp` where ep is 1."""
    plan, model, tokens = context.plan, context.model, context.tokens
    yield Operator("router", "router", gemm(tokens, experts.count, model.hidden, context.formats.plain))
    yield Operator("router choice", "router", context.written.router.over(tokens * experts.count))
    if experts.shared_inner:
        yield from _feed_forward(context, "shared", experts.shared_inner)
    spread = plan.ep > plan.tp  # beyond the devices that hold the same tokens: they travel
    own = tokens / plan.tp if spread else tokens
    route = Message("dispatch", 0.0, plan.ep, 1, own, experts.top_k, 0 if context.batch.sequences else EVERY_SERVER)
    if spread:
        code = stored("fp8") if context.quantised else 2.0
        yield Operator("dispatch", "links", route._replace(bytes=model.hidden * code))
    yield from _routed(context, experts, own)
    if spread:
        yield Operator("combine", "links", route._replace(kind="combine", bytes=model.hidden * 2.0))
    if plan.tp > 1:
        nbytes = tokens * model.hidden * 2
        yield Operator("experts output", "links", Message("all_gather" if spread else "all_reduce", nbytes, plan.tp))


def _routed(context: Context, experts: Experts, own: float) -> Iterator[Operator]:
    """Two grouped products over the experts that one device holds and that are met by a token."""
    plan, hidden = context.plan, context.model.hidden
    form = context.formats.experts or context.formats.weights
    inner = experts.inner if plan.ep > 1 else experts.inner / plan.tp
    local = (experts.count + context.redundant) / plan.ep
    met_by = own * max(plan.ep / plan.tp, 1) if plan.ep > plan.tp else context.tokens
    if plan.ep > plan.tp:
        met_by = own * plan.ep
    pairs = met_by * experts.top_k / plan.ep * (context.imbalance if plan.ep > 1 else 1.0)
    hit = max(local * (1 - (1 - experts.top_k / experts.count) ** met_by), min(local, 1.0))
    rows = pairs / hit
    inputs = context.formats.activations
    yield Operator("experts permute", "experts", context.written.permute.over(pairs * hidden))
    if not context.fused_quantise and context.quantised:
        yield Operator("experts: quantise", "experts", elementwise(pairs * hidden, passes=1.5))
    yield Operator("experts gate and up", "experts", gemm(rows, 2 * inner, hidden, form, inputs=inputs, groups=hit))
    yield Operator("experts activation", "experts", context.written.activation.over(pairs * inner))
    yield Operator("experts down", "experts", gemm(rows, hidden, inner, form, inputs=inputs, groups=hit))
    yield Operator("experts sum", "experts", context.written.collect.over(pairs * hidden))
