"""What a user asks of `size`, checked."""

from collections.abc import Mapping
from math import prod
from typing import Any, Literal, NamedTuple

from xinqiao.chips.spec import Chip
from xinqiao.cost.software import Software
from xinqiao.errors import InputError
from xinqiao.size.model import Model

Phase = Literal["prefill", "decode", "serve", "train", "finetune"]
SERVING, LEARNING = ("prefill", "decode", "serve"), ("train", "finetune")
MOST_CHIPS = 1 << 20
MOST_TOKENS = 1 << 24


class Workload(NamedTuple):
    """Of one kind of request. Tokens unless said otherwise.

    context     before a decoded token; 0: the prompt and half of the answer
    batch       sequences per chip in flight; 0: as many as fit and the time limits allow
    spread      of prompts' and answers' lengths: standard deviation over mean; 0: all alike
    hit_rate    share of prompts that a prefix cache already holds
    drafted     tokens that multi-token prediction adds to a step, of which `accepted` are kept in the mean
    tpot, ttft  most seconds per token, and to the first; 0: no limit
    """

    input: int = 2048
    output: int = 512
    context: int = 0
    batch: float = 0.0
    spread: float = 0.0
    hit_rate: float = 0.0
    drafted: int = 0
    accepted: float = 0.0
    tpot: float = 0.0
    ttft: float = 0.0

    @property
    def depth(self) -> float:
        """Tokens before the mean decoded one; long answers are in flight for longer."""
        return self.context or self.input + self.output / 2 * self.longer

    @property
    def longer(self) -> float:
        """Length of the prompt or answer that the mean token is in, over the mean length."""
        return 1 + self.spread**2


class Wanted(NamedTuple):
    """Degrees that the user gives; 0: search."""

    tp: int = 0
    pp: int = 0
    dp: int = 0
    ep: int = 0
    cp: int = 0

    @property
    def product(self) -> int:
        """Devices that the given degrees need at least."""
        return prod(degree or 1 for degree in (self.tp, self.pp, self.dp, self.cp))


class Request(NamedTuple):
    """One model on one kind of chip. chips: packages; 0: as few as fit. price: of a chip and hour, any currency."""

    model: Model
    chip: Chip
    software: Software
    phase: Phase = "serve"
    chips: int = 0
    wanted: Wanted = Wanted()
    workload: Workload = Workload()
    weights: str = ""
    cache: str = ""
    attention: str = ""
    node: str = ""  # a machine's name; '': the chip's usual one
    price: float = 0.0
    tokens: float = 0.0  # of a training run; 0: no run is asked for
    lora_rank: int = 0  # of adapters; 0: all weights are trained

    @property
    def learns(self) -> bool:
        return self.phase in LEARNING

    @property
    def per_chip(self) -> int:
        """Devices as PyTorch sees them in one chip."""
        return self.chip.torch.devices_per_package


LIMITS: dict[str, tuple[float, float]] = {  # of the numbers that a user may give, by option
    "chips": (1, MOST_CHIPS),
    **dict.fromkeys(Wanted._fields, (1, MOST_CHIPS)),
    **dict.fromkeys(("input", "output", "context"), (1, MOST_TOKENS)),
    "batch_per_chip": (1e-6, MOST_TOKENS),
    "hit_rate": (0, 1),
    "spread": (0, 10),
    **dict.fromkeys(("tpot_ms", "ttft_ms"), (1e-3, 1e9)),
    "tokens": (1, 1e18),
    "lora_rank": (1, 1 << 16),
    "price": (1e-6, 1e9),
}


PHASES = {  # of options that mean nothing in the others
    **dict.fromkeys(("output", "context", "spread", "hit_rate", "tpot_ms", "ttft_ms", "mtp", "cache"), SERVING),
    "tokens": LEARNING,
    "lora_rank": ("finetune",),
}


def check_options(asked: Mapping[str, Any]) -> None:
    """InputError names the option whose number cannot be, or that the phase has no use for; None is not given."""
    phase = asked.get("phase") or "serve"
    for name, phases in PHASES.items():
        if asked.get(name) not in (None, "") and phase not in phases:
            raise InputError(
                f"--{name.replace('_', '-')} means nothing in --phase {phase}; only in {', '.join(phases)}"
            )
    for name, (least, most) in LIMITS.items():
        value = asked.get(name)
        if value is not None and not least <= value <= most:  # not a number is not within either
            raise InputError(f"--{name.replace('_', '-')} {value:g}: not within {least:g} to {most:,g}")


def check(request: Request) -> None:
    """InputError names the option that this model or chip cannot have."""
    model, work, wanted = request.model, request.workload, request.wanted
    longest = work.input if request.learns else max(work.context, work.input + work.output)
    if model.context and longest > model.context:
        raise InputError(
            f"{longest:,} tokens of context: {model.name} has {model.context:,} positions; "
            "lower --context, --input or --output"
        )
    layers, heads = sum(layer.count for layer in model.layers), {layer.attention.heads for layer in model.layers}
    if wanted.tp and any(number % wanted.tp for number in heads):
        shown = ", ".join(map(str, sorted(heads)))
        raise InputError(f"--tp {wanted.tp}: {model.name} has {shown} heads; tp must divide them")
    if wanted.pp > layers:
        raise InputError(f"--pp {wanted.pp}: {model.name} has {layers} layers")
    most = max((layer.experts.count for layer in model.layers if layer.experts), default=0)
    if wanted.ep > 1 and not most:
        raise InputError(f"--ep {wanted.ep}: {model.name} has no experts")
    if wanted.ep > 2 * most > 0:
        raise InputError(f"--ep {wanted.ep}: {model.name} has {most} experts in a layer; at most twice as many devices")
    devices = request.chips * request.per_chip
    if devices and devices % wanted.product:
        raise InputError(
            f"tp × pp × dp × cp = {wanted.product:,} does not divide the {devices:,} devices of {request.chips:,} chips"
        )
