"""What a language model is: widths and counts, and every matrix that they imply. Data only."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

Part = Literal[
    "attention", "indexer", "mlp", "experts", "shared", "router", "embedding", "head", "norms", "streams", "mtp"
]


class Attention(Struct, frozen=True, kw_only=True):
    """Attention of one layer. Softmax attention over keys and values, unless `conv` says otherwise."""

    heads: int  # of queries; linear attention: of values
    kv_heads: int  # 1 latent for MLA; linear attention: of queries and of keys
    head_dim: int  # of a query or key: MLA: without rotary positions + with
    value_dim: int  # of a value
    q_rank: int = 0  # rank of the query's latent; 0: projected directly
    kv_rank: int = 0  # MLA: rank of the KV latent; 0: not MLA
    rope_dim: int = 0  # MLA: rotary part that is cached beside the latent
    window: int = 0  # sliding window in tokens; 0: all
    index_heads: int = 0  # DSA's lightning indexer; 0: none
    index_dim: int = 0
    index_top_k: int = 0  # tokens that DSA keeps; compressed entries where `compress` is not 0
    index_shared: bool = False  # the tokens that an earlier layer's indexer chose: no indexer of its own
    compress: int = 0  # tokens of one entry of the compressed KV cache, beside the window; 0: none
    shared_kv: bool = False  # one vector is both key and value
    out_groups: int = 0  # groups of heads with an output projection of their own each; 0: one projection
    out_rank: int = 0  # width that each group's projection answers
    conv: int = 0  # linear attention (gated delta rule): width of its convolution; 0: softmax attention
    query_gate: bool = False  # the query's projection also answers a gate of the output
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: Literal["", "head", "whole"] = ""  # RMS norm of queries and keys: none, each head, all heads at once
    sinks: bool = False  # one learned logit a head


class Experts(Struct, frozen=True, kw_only=True):
    """Routed experts of one layer."""

    count: int
    top_k: int
    inner: int  # inner width of one routed expert
    groups: int = 1  # that experts are in; a token's experts are in `top_groups` of them
    top_groups: int = 1
    shared_inner: int = 0  # summed inner width of shared experts
    shared_gate: bool = False  # a gate scales what shared experts answer
    router_bias: bool = False  # one number an expert beside the router's matrix
    bias: bool = False  # experts' matrices have biases


class Layer(Struct, frozen=True, kw_only=True):
    """One kind of layer."""

    count: int  # layers that are alike
    attention: Attention
    inner: int = 0  # dense FFN's inner width; 0: none
    experts: Experts | None = None
    gated: bool = True  # gate, up and down; else two matrices
    norms: int = 2  # of the hidden width
    bias: bool = False  # the dense FFN's matrices have biases


class Matrix(NamedTuple):
    """`count` matrices of n output × k input features. Fused ones of a checkpoint (qkv, gate_up) are listed apart."""

    part: Part
    name: str  # 'q', 'kv_a', 'gate', 'down', …; a bias: 'q.bias'; of MTP: 'experts.gate'
    n: int
    k: int  # 1: a vector
    count: int  # type: ignore[assignment]  # in the model; hides the tuple's method of that name

    @property
    def parameters(self) -> int:
        return self.n * self.k * self.count


class Model(Struct, frozen=True, kw_only=True):
    """A decoder-only language model."""

    name: str
    family: str  # the config's model_type
    hidden: int
    vocab: int
    layers: tuple[Layer, ...]  # kinds, in the order in which each first occurs
    tied: bool  # the embedding is also the head
    context: int  # positions
    mtp_layers: int = 0  # multi-token-prediction layers in the checkpoint; each like the last kind, never compressed
    streams: int = 0  # residual streams of hyper-connections; 0: a plain residual
    positions: int = 0  # rows of a table of learned positions; 0: none
    norm_bias: bool = False  # layer norms with biases; else RMS norms
    stored: str  # number format of the published weights: 'bf16', 'fp8', 'mxfp4', 'int4'…; '': unknown
    stored_rest: str = ""  # where it differs: of all but routed experts, in a dense model of all but the FFN
    source: str
    note: str = ""  # what was left out

    def matrices(self) -> tuple[Matrix, ...]:
        """Every tensor of the checkpoint; a tied head is not one."""
        return tuple(self._matrices())

    def parameters(self, part: Part | Literal[""] = "") -> int:
        """Of one part; without one, of all but MTP."""
        return sum(m.parameters for m in self.matrices() if (m.part == part if part else m.part != "mtp"))

    def active_parameters(self) -> int:
        """That one token multiplies with: top-k experts and the head, not the embedding that it is looked up in."""
        outside = sum(
            m.parameters for m in self._outside() if m.part != "embedding" or (self.tied and m.name == "tokens")
        )
        return outside + sum(_active(layer, m) for layer in self.layers for m in self._layer(layer))

    def _matrices(self) -> Iterator[Matrix]:
        yield from self._outside()
        for layer in self.layers:
            yield from self._layer(layer)
        if self.mtp_layers:
            yield from self._mtp()

    def _outside(self) -> Iterator[Matrix]:
        """What is there once."""
        yield Matrix("embedding", "tokens", self.vocab, self.hidden, 1)
        if self.positions:
            yield Matrix("embedding", "positions", self.positions, self.hidden, 1)
        yield from _norms(self.hidden, 1, bias=self.norm_bias)
        if self.streams:
            yield from _mixing(self.streams, self.streams * self.hidden, self.streams, 1, 1)
        if not self.tied:
            yield Matrix("head", "head", self.vocab, self.hidden, 1)

    def _layer(self, layer: Layer) -> Iterator[Matrix]:
        """Of all layers of one kind."""
        for found in self._one(layer):
            yield found._replace(count=found.count * layer.count)

    def _one(self, layer: Layer) -> Iterator[Matrix]:
        yield from _attention(layer.attention, self.hidden)
        if layer.inner:
            yield from _ffn("mlp", self.hidden, layer.inner, gated=layer.gated, bias=layer.bias)
        if layer.experts:
            yield from _experts(layer.experts, self.hidden, gated=layer.gated)
        yield from _norms(self.hidden, layer.norms, bias=self.norm_bias)
        if self.streams:
            read_write_mix = 2 * self.streams + self.streams**2
            yield from _mixing(read_write_mix, self.streams * self.hidden, read_write_mix, 3, 2)

    def _mtp(self) -> Iterator[Matrix]:
        """Two norms and a projection of the last hidden state beside the next token, a layer, and a norm."""
        last = self.layers[-1]
        attention = last.attention
        if attention.compress:
            attention = replace(attention, compress=0, index_heads=0, index_dim=0, index_top_k=0)
        elif attention.index_shared:
            attention = replace(attention, index_shared=False)
        for found in self._layer(replace(last, count=self.mtp_layers, attention=attention)):
            yield found._replace(part="mtp", name=f"{found.part}.{found.name}")
        yield Matrix("mtp", "projection", self.hidden, 2 * self.hidden, self.mtp_layers)
        yield Matrix("mtp", "norm", self.hidden, 1, 3 * self.mtp_layers)
        if self.streams:
            for found in _mixing(self.streams, self.streams * self.hidden, self.streams, 1, self.mtp_layers):
                yield found._replace(part="mtp", name=f"streams.{found.name}")


def _active(layer: Layer, found: Matrix) -> int:
    if layer.experts and found.part == "experts":
        return found.parameters // layer.experts.count * layer.experts.top_k
    return found.parameters


def _vector(part: Part, name: str, width: int, count: int = 1) -> Matrix:
    return Matrix(part, name, width, 1, count)


def _norms(hidden: int, count: int, *, bias: bool) -> Iterator[Matrix]:
    yield _vector("norms", "norm", hidden, count)
    if bias:
        yield _vector("norms", "norm.bias", hidden, count)


def _mixing(n: int, k: int, base: int, scales: int, count: int) -> Iterator[Matrix]:
    """Hyper-connections: how streams are read, written and mixed (https://arxiv.org/abs/2512.24880)."""
    yield Matrix("streams", "mix", n, k, count)
    yield _vector("streams", "mix.base", base, count)
    yield _vector("streams", "mix.scale", scales, count)


def _ffn(part: Part, hidden: int, inner: int, *, gated: bool, bias: bool, count: int = 1) -> Iterator[Matrix]:
    for name in ("gate", "up") if gated else ("up",):
        yield Matrix(part, name, inner, hidden, count)
        if bias:
            yield _vector(part, f"{name}.bias", inner, count)
    yield Matrix(part, "down", hidden, inner, count)
    if bias:
        yield _vector(part, "down.bias", hidden, count)


def _experts(experts: Experts, hidden: int, *, gated: bool) -> Iterator[Matrix]:
    yield from _ffn("experts", hidden, experts.inner, gated=gated, bias=experts.bias, count=experts.count)
    if experts.shared_inner:
        yield from _ffn("shared", hidden, experts.shared_inner, gated=gated, bias=False)
    if experts.shared_gate:
        yield Matrix("shared", "scale", 1, hidden, 1)
    yield Matrix("router", "router", experts.count, hidden, 1)
    if experts.router_bias:
        yield _vector("router", "router.bias", experts.count)


def _attention(a: Attention, hidden: int) -> Iterator[Matrix]:
    if a.conv:
        yield from _linear(a, hidden)
        return
    yield from _queries(a, hidden)
    yield from _keys_and_values(a, hidden)
    yield from _output(a, hidden)
    if a.sinks:
        yield _vector("attention", "sinks", a.heads)
    if a.compress:
        # The kind of compressed attention that has an indexer compresses two overlapping windows at once.
        yield from _compressor("attention", "compressor", hidden, a.head_dim, (a.compress, 2 if a.index_heads else 1))
    if a.index_heads and not a.index_shared:
        yield from _indexer(a, hidden)


def _queries(a: Attention, hidden: int) -> Iterator[Matrix]:
    width = a.heads * a.head_dim
    if a.q_rank:
        yield Matrix("attention", "q_a", a.q_rank, hidden, 1)
        yield _vector("norms", "q_a_norm", a.q_rank)
        yield Matrix("attention", "q_b", width, a.q_rank, 1)
    else:
        yield Matrix("attention", "q", width * (2 if a.query_gate else 1), hidden, 1)
        if a.qkv_bias:
            yield _vector("attention", "q.bias", width)
    if a.qk_norm:
        yield _vector("norms", "q_norm", a.head_dim if a.qk_norm == "head" else width)


def _keys_and_values(a: Attention, hidden: int) -> Iterator[Matrix]:
    width = a.kv_heads * a.head_dim
    if a.kv_rank:
        yield Matrix("attention", "kv_a", a.kv_rank + a.rope_dim, hidden, 1)
        yield _vector("norms", "kv_a_norm", a.kv_rank)
        yield Matrix("attention", "kv_b", a.heads * (a.head_dim - a.rope_dim + a.value_dim), a.kv_rank, 1)
        return
    if a.shared_kv:
        yield Matrix("attention", "kv", width, hidden, 1)
        yield _vector("norms", "kv_norm", a.head_dim)
        return
    for name, n in (("k", width), ("v", a.kv_heads * a.value_dim)):
        yield Matrix("attention", name, n, hidden, 1)
        if a.qkv_bias:
            yield _vector("attention", f"{name}.bias", n)
    if a.qk_norm:
        yield _vector("norms", "k_norm", a.head_dim if a.qk_norm == "head" else width)


def _output(a: Attention, hidden: int) -> Iterator[Matrix]:
    width = a.heads * a.value_dim
    if a.out_groups:
        yield Matrix("attention", "o_a", a.out_rank, width // a.out_groups, a.out_groups)
        width = a.out_groups * a.out_rank
    yield Matrix("attention", "o_b" if a.out_groups else "o", hidden, width, 1)
    if a.out_bias:
        yield _vector("attention", "o.bias", hidden)


def _compressor(part: Part, name: str, hidden: int, width: int, windows: tuple[int, int]) -> Iterator[Matrix]:
    """windows: tokens of one, and how many overlap."""
    tokens, overlap = windows
    yield Matrix(part, f"{name}.kv", overlap * width, hidden, 1)
    yield Matrix(part, f"{name}.gate", overlap * width, hidden, 1)
    yield Matrix(part, f"{name}.positions", tokens, overlap * width, 1)
    yield _vector("norms", f"{name}.norm", width)


def _indexer(a: Attention, hidden: int) -> Iterator[Matrix]:
    yield Matrix("indexer", "q_b", a.index_heads * a.index_dim, a.q_rank, 1)
    yield Matrix("indexer", "weights", a.index_heads, hidden, 1)
    if a.compress:
        yield from _compressor("indexer", "compressor", hidden, a.index_dim, (a.compress, 2))
        return
    yield Matrix("indexer", "k", a.index_dim, hidden, 1)
    yield _vector("norms", "index_norm", a.index_dim)
    yield _vector("norms", "index_norm.bias", a.index_dim)


def _linear(a: Attention, hidden: int) -> Iterator[Matrix]:
    keys, values = a.kv_heads * a.head_dim, a.heads * a.value_dim
    yield Matrix("attention", "qkvz", 2 * keys + 2 * values, hidden, 1)
    yield Matrix("attention", "ba", 2 * a.heads, hidden, 1)
    yield Matrix("attention", "conv", 2 * keys + values, a.conv, 1)
    yield _vector("attention", "decay", a.heads, 2)  # dt_bias and A_log
    yield _vector("norms", "out_norm", a.value_dim)
    yield Matrix("attention", "o", hidden, values, 1)
