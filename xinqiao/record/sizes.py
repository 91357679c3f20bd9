"""What `size` answered, as a file: `{"schema": 1, "kind": "size", "answers": [...]}`, or the keys of one answer in the
place of `answers`. SI units unless a name says otherwise.

An answer has what a page shows; other keys of the file are left aside.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

Amount = Annotated[float, Meta(ge=0, le=1e30)]
Positive = Annotated[float, Meta(gt=0, le=1e30)]
Count = Annotated[int, Meta(ge=1)]


class Range(Struct):
    """A prediction and the ends that hold it with a probability of 80 %."""

    value: Positive
    low: Positive
    high: Positive


class Degrees(Struct):
    """Of parallelism: tensor, pipeline, data, expert, context."""

    tp: Count
    pp: Count
    dp: Count
    ep: Count
    cp: Count


class Stored(Struct):
    """Number formats. '' in activations and experts: as the weights."""

    weights: str
    activations: str
    cache: str
    attention: str
    experts: str
    plain: str


class Fits(Struct, kw_only=True):
    """Bytes on one device. None: no source states the capacity. In the file, parts stand beside the other keys."""

    parts: dict[str, Amount]
    total: Amount
    capacity: Positive | None
    fits: bool | None


class Operator(Struct, kw_only=True):
    """One operator in one iteration on one device, all layers together. flops, bytes: 0 for messages."""

    name: str
    part: str
    seconds: Amount
    bound: str
    level: str
    flops: Amount
    bytes: Amount
    format: str
    energy: str = ""


class Trade(Struct, kw_only=True):
    """One point of throughput against latency."""

    batch_per_chip: Positive
    tpot_ms: Range
    tokens_per_second_per_chip: Range


class Gain(Struct, kw_only=True):
    """share: of the time that a resource bounds. ten_percent: what a tenth more of it adds to the throughput."""

    resource: str
    share: Amount
    ten_percent: Amount


class Answer(Struct, kw_only=True):
    """One model on one kind of chip. None: it needs a figure that `unknown` names, or nobody asked for it."""

    model: str
    chip: str
    title: str  # of the chip
    phase: str
    chips: Count
    devices: Count
    plan: Degrees
    formats: Stored
    software: str
    memory: Fits
    batch_per_chip: Amount
    roofs: dict[str, Positive]  # FLOP/s of one device by number format, as its sources state it
    bandwidth: Positive | None  # bytes/s of one device
    prefill_tokens_per_second_per_chip: Range | None = None
    decode_tokens_per_second_per_chip: Range | None = None
    serving_tokens_per_second_per_chip: Range | None = None
    training_tokens_per_second_per_chip: Range | None = None
    tpot_ms: Range | None = None
    ttft_ms: Range | None = None
    mfu: Range | None = None
    days: Range | None = None
    cost_per_million_tokens: Range | None = None
    prefill_chips_per_decode_chip: Positive | None = None
    limits: list[Gain] = []
    trade: list[Trade] = []
    by_operator: list[Operator] = []
    assumptions: list[str] = []
    unknown: list[str] = []


class SizeRecord(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="size"):
    answers: Annotated[list[Answer], Meta(min_length=1)]
    schema: int = 1


def sized(document: dict[str, Any]) -> SizeRecord:
    """The record of a file's content."""
    return msgspec.convert(unfolded(document), SizeRecord)


def unfolded(document: dict[str, Any]) -> dict[str, Any]:
    """A file's content as SizeRecord has it. What is wrong stays wrong, for the check of types to say."""
    if "answers" not in document:
        top = {key: document[key] for key in ("schema", "kind") if key in document}
        document = top | {"answers": [{key: value for key, value in document.items() if key not in top}]}
    answers = document["answers"]
    return document | {"answers": [_unfolded(one) for one in answers] if isinstance(answers, list) else answers}


def _unfolded(answer: Any) -> Any:
    memory = answer.get("memory") if isinstance(answer, dict) else None
    if not isinstance(memory, dict):
        return answer
    whole = {key: memory[key] for key in ("total", "capacity", "fits") if key in memory}
    return answer | {"memory": whole | {"parts": {key: memory[key] for key in memory if key not in whole}}}
