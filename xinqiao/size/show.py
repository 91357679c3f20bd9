"""Answers of `size`, for people and for programs."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from xinqiao.cost.price import Interval
from xinqiao.size.answer import Answer

GB = 1e9
MOST_ROWS = 8


def rows(answers: Sequence[Answer]) -> dict[str, Any]:
    """One chip's answer as it is; several under 'answers'."""
    if len(answers) == 1:
        return {"schema": 1, "kind": "size"} | _row(answers[0])
    return document(answers)


def document(answers: Sequence[Answer]) -> dict[str, Any]:
    """What `report` reads."""
    return {"schema": 1, "kind": "size", "answers": [_row(answer) for answer in answers]}


def _row(answer: Answer) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(answer)
    memory = row["memory"]
    row["memory"] = memory.pop("parts") | memory
    row["plan"]["batch_per_chip"] = answer.batch_per_chip
    return row


def text(answers: Sequence[Answer]) -> str:
    """Every answer in some twenty lines."""
    return "\n\n".join("\n".join(_lines(answer)) for answer in answers)


def _lines(answer: Answer) -> Iterator[str]:
    plan = answer.plan
    degrees = ", ".join(f"{name} {value}" for name, value in msgspec.structs.asdict(plan).items() if value > 1)
    devices = "" if answer.devices == answer.chips else f" ({answer.devices:,} devices)"
    yield f"{answer.model} on {answer.chips:,} × {answer.chip}{devices}: {degrees or 'one device'}"
    yield _memory(answer)
    prompts = "prompts between" if answer.phase == "serve" else "prompts elsewhere"
    figures = (
        ("prefill", answer.prefill_tokens_per_second_per_chip, "tokens/s a chip"),
        ("first token", answer.ttft_ms, "ms, one prompt on an idle engine"),
        ("decode", answer.decode_tokens_per_second_per_chip, "tokens/s a chip, prompts elsewhere"),
        ("both", answer.serving_tokens_per_second_per_chip, "output tokens/s a chip, prompts between"),
        ("per token", answer.tpot_ms, f"ms, {answer.batch_per_chip:,.4g} sequences a chip, {prompts}"),
        ("training", answer.training_tokens_per_second_per_chip, "tokens/s a chip"),
        ("MFU", answer.mfu, "of the 16-bit peak"),
        ("run", answer.days, "days"),
        ("program", answer.program_seconds, "seconds from its first kernel to its last"),
        ("cost", answer.cost_per_million_tokens, "a million tokens"),
    )
    for name, found, unit in figures:
        if found is not None:
            yield f"  {name:12} {_interval(found)} {unit}"
    for name in answer.unknown:
        yield f"  unknown      {name}"
    if answer.limits:
        parts = (
            f"{g.resource} {g.share:.0%} (10 % more: +{g.ten_percent:.1%})" for g in answer.limits if g.share > 0.005
        )
        yield f"  limited by   {', '.join(parts)}"
    for row in sorted(answer.by_operator, key=lambda row: -row.seconds)[:MOST_ROWS]:
        yield f"    {row.seconds * 1e3:9.3f} ms  {row.name:24} {row.bound}"
    for assumption in answer.assumptions:
        yield f"  assumed      {assumption}"


def _memory(answer: Answer) -> str:
    memory = answer.memory
    parts = ", ".join(f"{name} {nbytes / GB:.1f}" for name, nbytes in memory.parts.items() if nbytes > 0.05 * GB)
    capacity = "an unknown capacity" if memory.capacity is None else f"{memory.capacity / GB:.1f} GB"
    verdict = {True: "fits", False: "does not fit", None: "capacity unknown"}[memory.fits]
    return f"  memory       {memory.total / GB:.1f} of {capacity} a device: {verdict} ({parts})"


def _interval(found: Interval) -> str:
    return f"{found.value:10,.4g}  [{found.low:,.4g} to {found.high:,.4g}]"
