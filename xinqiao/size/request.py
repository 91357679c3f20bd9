"""What a user asks of `size`, checked."""

from typing import Literal, NamedTuple

from xinqiao.chips.spec import Chip
from xinqiao.cost.software import Software
from xinqiao.errors import InputError
from xinqiao.size.model import Model

Phase = Literal["prefill", "decode", "serve", "train", "finetune"]
MOST_CHIPS = 1 << 20
MOST_TOKENS = 1 << 24


class Workload(NamedTuple):
    """Of one kind of request. Tokens unless said otherwise.

    context     before a decoded token; 0: the prompt and half of the answer
    batch       sequences per chip in flight; 0: as many as fit and the time limits allow
    hit_rate    share of prompts that a prefix cache already holds
    drafted     tokens that multi-token prediction adds to a step, of which `accepted` are kept in the mean
    tpot, ttft  most seconds per token, and to the first; 0: no limit
    """

    input: int = 2048
    output: int = 512
    context: int = 0
    batch: float = 0.0
    hit_rate: float = 0.0
    drafted: int = 0
    accepted: float = 0.0
    tpot: float = 0.0
    ttft: float = 0.0

    @property
    def depth(self) -> float:
        """Tokens before the mean decoded one."""
        return self.context or self.input + self.output / 2


class Wanted(NamedTuple):
    """Degrees that the user gives; 0: search."""

    tp: int = 0
    pp: int = 0
    dp: int = 0
    ep: int = 0
    cp: int = 0


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

    @property
    def per_chip(self) -> int:
        """Devices as PyTorch sees them in one chip."""
        return self.chip.torch.devices_per_package


def check(request: Request) -> None:
    """InputError names the flag that cannot be."""
    work, wanted = request.workload, request.wanted
    limits = {
        "chips": (request.chips, MOST_CHIPS),
        "input": (work.input, MOST_TOKENS),
        "output": (work.output, MOST_TOKENS),
        "context": (work.context, MOST_TOKENS),
        "batch-per-chip": (work.batch, MOST_TOKENS),
        **{name: (value, MOST_CHIPS) for name, value in wanted._asdict().items()},
    }
    for name, (value, most) in limits.items():
        if not 0 <= value <= most:
            raise InputError(f"--{name} {value:g}: not within 1 to {most:,}")
    longest = max(work.context, work.input + work.output)
    if request.model.context and longest > request.model.context:
        raise InputError(
            f"{longest:,} tokens of context: {request.model.name} has {request.model.context:,} positions; "
            "lower --context, --input or --output"
        )
    devices = request.chips * request.per_chip
    product = 1
    for name in ("tp", "pp", "dp", "cp"):
        product *= getattr(wanted, name) or 1
    if devices and devices % product:
        raise InputError(f"tp × pp × dp × cp = {product:,} does not divide the {devices:,} devices of {request.chips:,} chips")
    layers = sum(layer.count for layer in request.model.layers)
    if wanted.pp > layers:
        raise InputError(f"--pp {wanted.pp}: {request.model.name} has {layers} layers")
    if wanted.ep > 1 and not any(layer.experts for layer in request.model.layers):
        raise InputError(f"--ep {wanted.ep}: {request.model.name} has no experts")
