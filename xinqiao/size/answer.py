"""What `size` answers: memory, speed with intervals, what limits it, and what it rests on."""

from msgspec import Struct

from xinqiao.cost.price import Interval
from xinqiao.size.plan import Formats, Plan


class Row(Struct, frozen=True):
    """One operator of the phase that was asked for, in one iteration on one device, all layers together.

    bound: what most of its seconds are spent on. level: 'measured' shapes, 'curve' of efficiency, 'roofline' constants.
    flops, bytes: 0 for messages; format: of its products. energy: what most of it goes to, a class without joules.
    """

    name: str
    part: str
    seconds: float
    bound: str
    level: str
    flops: float
    bytes: float
    format: str
    energy: str


class Fits(Struct, frozen=True):
    """Bytes on one device."""

    parts: dict[str, float]
    total: float
    capacity: float | None
    fits: bool | None  # None: no source states the capacity


class Trade(Struct, frozen=True):
    """One point of throughput against latency: the chosen plan with so many sequences in flight per chip."""

    batch_per_chip: float
    tpot_ms: Interval
    tokens_per_second_per_chip: Interval


class Gain(Struct, frozen=True):
    """resource: 'arithmetic', 'bandwidth', 'links', 'latency', 'launch and host'. share: of the time that it bounds.

    ten_percent: what a tenth more of it adds to the throughput, as a share.
    """

    resource: str
    share: float
    ten_percent: float


class Answer(Struct, frozen=True, kw_only=True):
    """One model on one kind of chip. None: a figure that it needs is unknown; `unknown` names it."""

    model: str
    chip: str
    title: str  # of the chip
    phase: str
    chips: int
    devices: int
    plan: Plan
    formats: Formats
    software: str
    memory: Fits
    batch_per_chip: float
    roofs: dict[str, float]  # FLOP/s of one device by number format, as its sources state it
    bandwidth: float | None  # bytes/s of one device
    prefill_tokens_per_second_per_chip: Interval | None = None
    decode_tokens_per_second_per_chip: Interval | None = None
    serving_tokens_per_second_per_chip: Interval | None = None
    tpot_ms: Interval | None = None
    ttft_ms: Interval | None = None
    training_tokens_per_second_per_chip: Interval | None = None
    mfu: Interval | None = None
    days: Interval | None = None
    program_seconds: Interval | None = None
    cost_per_million_tokens: Interval | None = None
    prefill_chips_per_decode_chip: float | None = None
    limits: tuple[Gain, ...] = ()
    trade: tuple[Trade, ...] = ()  # latency rises
    by_operator: tuple[Row, ...] = ()
    assumptions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
