"""Bytes on one device: what a model under a plan needs, for inference and for training.

The parts are those at the moment when their sum is largest. They are what the program's tensors hold; what a driver and
its libraries take on top is the vendor's and is not here.
"""

from typing import NamedTuple

from xinqiao.cost.kernel import stored
from xinqiao.errors import InputError, nearest
from xinqiao.size import activations
from xinqiao.size.activations import FP32, Kept
from xinqiao.size.attention import cache_bytes
from xinqiao.size.model import Layer, Matrix, Model
from xinqiao.size.plan import Formats, Plan

OPTIMIZERS = {  # states of a parameter's size, and how many of that size a step makes and frees
    "adamw": (2, 1),
    "adamw-fused": (2, 0),
    "sgd": (0, 0),
    "sgd-momentum": (1, 0),
}


class Memory(NamedTuple):
    """Bytes by part.

    weights      all of them on this device, with autocast's 16-bit copies
    master       fp32 weights that the optimizer updates, where the model computes in 16 bits
    gradients    as the optimizer reads them
    optimizer    its states
    activations  what autograd keeps, or what a forward pass holds at once
    cache        keys and values
    logits       with what the loss makes of them in fp32
    workspace    made and freed within an optimizer's step or a cache's growth
    """

    weights: float = 0.0
    master: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    cache: float = 0.0
    logits: float = 0.0
    workspace: float = 0.0

    @property
    def total(self) -> float:
        return sum(self)


class Inference(NamedTuple):
    """sequences in flight of one replica, with `context` tokens each; `tokens` in one iteration.

    results  rows of logits; None: one a sequence
    grows    the cache is copied when a token comes, one tensor of one layer at a time
    """

    sequences: float
    context: float
    tokens: float
    results: float | None = None
    grows: bool = False


class Training(NamedTuple):
    """Micro-batches of `batch` sequences of `length` tokens on one replica.

    optimizer      a key of OPTIMIZERS
    autocast       fp32 weights, products in 16 bits
    master         16-bit weights; the optimizer updates fp32 copies of them
    checkpointing  only each layer's input is kept, and the layer computed again
    lora_rank      of adapters of queries and values, all else frozen; 0: every weight is trained
    scores         attention keeps all scores; else one fused kernel
    masked         that kernel takes an explicit mask, padding's for instance
    zero           what replicas share: 0 nothing, 1 optimizer states, 2 gradients too, 3 weights too
    """

    batch: float
    length: float
    optimizer: str = "adamw"
    autocast: bool = False
    master: bool = False
    checkpointing: bool = False
    lora_rank: int = 0
    scores: bool = False
    masked: bool = False
    zero: int = 0


def memory(model: Model, plan: Plan, formats: Formats, use: Inference | Training) -> Memory:
    """At its peak. InputError for an optimizer that is not known."""
    if isinstance(use, Inference):
        return _inference(model, plan, formats, use)
    return max(_moments(model, plan, formats, use), key=lambda m: m.total)


def _shards(plan: Plan, matrix: Matrix) -> float:
    """Devices of a replica that share a matrix; norms are on every one, the router too."""
    if matrix.part in ("norms", "router"):
        return float(plan.pp)
    if matrix.part == "experts":
        return float(plan.pp * max(plan.ep, plan.tp))
    if matrix.part in ("embedding", "head"):
        return float(plan.tp)  # on the first or the last stage
    return float(plan.pp * plan.tp)


def _form(formats: Formats, matrix: Matrix) -> str:
    if matrix.part == "experts":
        return formats.experts or formats.weights
    quantised = matrix.part in ("attention", "mlp", "shared", "indexer") and matrix.k > 1
    return formats.weights if quantised else formats.plain


def _matrices(model: Model) -> list[Matrix]:
    return [m for m in model.matrices() if m.part != "mtp"]


def _weights(model: Model, plan: Plan, formats: Formats) -> float:
    return sum(m.parameters * stored(_form(formats, m)) / _shards(plan, m) for m in _matrices(model))


def _parameters(model: Model, plan: Plan) -> float:
    return sum(m.parameters / _shards(plan, m) for m in _matrices(model))


def _cache(model: Model, plan: Plan, formats: Formats, use: Inference) -> float:
    layers = model.layers
    each = sum(one.count * cache_bytes(one.attention, formats.cache, use.context, plan.tp) for one in layers)
    return each * use.sequences / plan.pp / plan.cp


def _inference(model: Model, plan: Plan, formats: Formats, use: Inference) -> Memory:
    width = max(stored(formats.activations or formats.weights), 2.0)
    cache = _cache(model, plan, formats, use)
    rows = use.sequences if use.results is None else use.results
    held = max(activations.forward(model, plan, layer, width) for layer in model.layers) * use.tokens / plan.cp
    logits = rows * model.vocab / plan.tp * (width + FP32)
    growth = cache * plan.pp / sum(layer.count for layer in model.layers) / 2 if use.grows else 0.0
    largest = max(held, logits, growth)  # one after the other
    return Memory(
        weights=_weights(model, plan, formats),
        cache=cache,
        activations=held if largest == held else 0.0,
        logits=logits if largest == logits else 0.0,
        workspace=growth if largest == growth else 0.0,
    )


def _moments(model: Model, plan: Plan, formats: Formats, use: Training) -> list[Memory]:
    """The gradients of the loss, the last norm, the last layer and the first one; their end; the optimizer's step."""
    state, kept = _state(model, plan, formats, use), _kept(formats, use)
    tokens, layer_norm = use.batch * use.length / plan.cp, model.norm_bias
    # A stage of a pipeline has fewer layers, and as many micro-batches in flight: pp does not matter.
    layers = [activations.layer(model, plan, layer, kept, use.length) for layer in model.layers]
    count = sum(layer.count for layer in model.layers)
    inputs = model.hidden * kept.stream if use.checkpointing else 0.0
    held = sum(layer.count * (inputs or each) for layer, each in zip(model.layers, layers, strict=True))
    norm = activations.norm(kept, model.hidden, layer_norm=layer_norm)
    tail = norm + (kept.products * model.hidden if kept.trained else 0.0)
    held -= 0.0 if kept.trained else norm  # nothing before the first adapter has a gradient
    working = activations.backward(model, plan, model.layers[-1], kept, use.length)
    again = inputs and layers[-1]
    copies = 2.0 * _products(model, plan) if use.autocast else 0.0
    head = 0.0 if use.lora_rank else model.vocab * model.hidden / plan.tp * _number(state, model, plan, use)
    inner = (state.gradients - head * (1 if model.tied else 2)) * (1 - 1 / count)  # but the first layer's
    start = state._replace(gradients=0.0, weights=state.weights + copies)
    last_norm = held + tail + activations.norm_backward(kept, model.hidden, layer_norm=layer_norm)
    step = state.gradients * FP32 / stored(formats.weights) if use.master else state.gradients
    states, made = OPTIMIZERS[use.optimizer]
    return [
        start._replace(activations=tokens * (held + tail), logits=tokens * model.vocab / plan.tp * 3 * FP32),
        start._replace(activations=tokens * last_norm, gradients=head),
        start._replace(activations=tokens * (held + again + working), gradients=head),
        state._replace(activations=tokens * (inputs + layers[0] + working), gradients=head + inner),
        state._replace(gradients=state.gradients + (head if model.tied else 0.0)),
        state._replace(gradients=step, workspace=made * state.optimizer / states if states else 0.0),
    ]


def _number(state: Memory, model: Model, plan: Plan, use: Training) -> float:
    """Bytes of one gradient on a device, where replicas share them: of its share."""
    return state.gradients / _trained(model, plan, use)


def _kept(formats: Formats, use: Training) -> Kept:
    stream = stored(formats.weights)
    products = 2.0 if use.autocast else stream
    return Kept(stream, products, use.autocast, not use.lora_rank, use.scores, use.masked)


def _state(model: Model, plan: Plan, formats: Formats, use: Training) -> Memory:
    """What is there between two steps, and the gradients that a step reads."""
    if use.optimizer not in OPTIMIZERS:
        known = ", ".join(OPTIMIZERS)
        raise InputError(f"no optimizer '{use.optimizer}'{nearest(use.optimizer, OPTIMIZERS)}; there are {known}")
    shared = [float(plan.dp) if use.zero >= level else 1.0 for level in (1, 2, 3)]
    trained, bytes_ = _trained(model, plan, use), stored(formats.weights)
    width = FP32 if use.master else bytes_
    return Memory(
        weights=(_weights(model, plan, formats) + (trained * bytes_ if use.lora_rank else 0.0)) / shared[2],
        master=FP32 * trained / shared[0] if use.master else 0.0,
        gradients=bytes_ * trained / shared[1],
        optimizer=OPTIMIZERS[use.optimizer][0] * width * trained / shared[0],
    )


def _trained(model: Model, plan: Plan, use: Training) -> float:
    if not use.lora_rank:
        return _parameters(model, plan)
    return sum(_adapters(model, layer, use.lora_rank) for layer in model.layers) / plan.tp / plan.pp


def _adapters(model: Model, layer: Layer, rank: int) -> float:
    a = layer.attention
    width = a.heads * a.head_dim + a.kv_heads * a.value_dim
    return layer.count * rank * (2 * model.hidden + width)


def _products(model: Model, plan: Plan) -> float:
    """Parameters of matrices that are multiplied with, the head among them: autocast makes 16-bit copies of these."""
    found = sum(m.parameters / _shards(plan, m) for m in _matrices(model) if m.k > 1 and m.part != "embedding")
    return found + (model.vocab * model.hidden / plan.tp if model.tied else 0.0)
