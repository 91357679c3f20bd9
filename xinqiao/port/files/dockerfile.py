"""Dockerfiles can start from another image, and set the chip's variables too.

What it does: an image for CUDA becomes the default of a build argument, so that `docker build` with `--build-arg
BASE_IMAGE=...` starts from the vendor's; in the vendor style it is replaced. `ENV` and `RUN` are treated as the rule
shell treats commands: variables get the vendor's beside them, CUDA's packages and tools need you.
Why: an image with CUDA's libraries has none of the chip's.
Unsafe when: a build gives BASE_IMAGE already, for something else.
Source: Dockerfile reference (ARG before FROM; RUN; here-documents); the chip's platform file for the image.

    FROM pytorch/pytorch:2.5.1-cuda12.4    →    ARG BASE_IMAGE=pytorch/pytorch:2.5.1-cuda12.4
                                           →    FROM ${BASE_IMAGE}
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from xinqiao.port.files import images, read_json, settings, variables
from xinqiao.port.files.advice import ASK, SAME_DEVICE, Advice, needs_you, safe
from xinqiao.port.files.commands import Site, places
from xinqiao.port.files.text import NotReadable, Place, Text
from xinqiao.port.source import Edit
from xinqiao.port.words import is_bound

_BEGIN = re.compile(r"[ \t]*([A-Za-z]+)[ \t]+")
_FROM = re.compile(r"(?:--\S+\s+)*([^\s\\]+)")
_ORIGIN = re.compile(r"--from=([^\s\\]+)")
_DOCUMENT = re.compile(r"<<-?[\"']?([A-Za-z_]\w*)[\"']?")
_BASE = "BASE_IMAGE"


@dataclass(frozen=True)
class Instruction:
    """A word in capitals, where its line begins, and characters [start, end) of what follows the word."""

    name: str
    line: int
    start: int
    end: int


def find(text: Text) -> Iterator[Place]:
    found = list(_instructions(text))
    first = next((i.line for i in found if i.name == "FROM"), 0)
    number = 0
    for instruction in found:
        written = text.text[instruction.start : instruction.end]
        if instruction.name == "FROM":
            base = f"{_BASE}_{number + 1}" if number else _BASE
            place = _from(instruction, first, base, text)
            number += place is not None and place.verdict == "rewritten"
            yield from [place] if place else []
        elif instruction.name == "ARG" and images.is_for_cuda(written.partition("=")[2].strip("'\"")):
            yield _argument(instruction, written, text)
        elif instruction.name in ("ENV", "RUN", "CMD", "ENTRYPOINT", "ARG", "HEALTHCHECK"):
            yield from _commands(instruction, text)
        elif instruction.name == "COPY" and (origin := _ORIGIN.search(written)) and images.is_for_cuda(origin[1]):
            start, end = (instruction.start + at for at in origin.span(1))
            advice = images.advice(origin[1], text.target) or _rest(text)
            edits = (Edit(start, end, advice.text),) if advice.verdict == "rewritten" else ()
            yield Place(start, end, advice.verdict, advice.reason, edits)
        elif is_bound(written):
            yield _plain(instruction, safe("a label") if instruction.name == "LABEL" else _rest(text))


def _rest(text: Text) -> Advice:
    return SAME_DEVICE if text.target.audit else needs_you(ASK)


def _plain(instruction: Instruction, advice: Advice) -> Place:
    return Place(instruction.start, instruction.end, advice.verdict, advice.reason)


def _instructions(text: Text) -> Iterator[Instruction]:
    lines = text.lines()
    at = 0
    while at < len(lines):
        begin, line = lines[at]
        found = _BEGIN.match(line)
        at += 1
        if found is None:
            continue
        begun = last = at - 1
        while at < len(lines) and _goes_on(lines[last][1], first=last == begun):
            last, at = at, at + 1
        if (document := _DOCUMENT.search(line)) and found[1].upper() in ("RUN", "COPY"):
            while at < len(lines) and lines[last][1].strip() != document[1]:
                last, at = at, at + 1
        end = lines[last][0] + len(lines[last][1].rstrip())
        yield Instruction(found[1].upper(), begin, begin + found.end(), max(begin + found.end(), end))


def _goes_on(line: str, *, first: bool) -> bool:
    """Whether an instruction goes on after a line: one that ends in a backslash, or a comment within it."""
    return line.rstrip().endswith("\\") or (not first and line.lstrip().startswith("#"))


def _from(instruction: Instruction, first: int, base: str, text: Text) -> Place | None:
    found = _FROM.match(text.text, instruction.start, instruction.end)
    if found is None or not images.is_for_cuda(found[1]):
        return None
    advice = images.advice(found[1], text.target)
    assert advice is not None
    start, end = found.span(1)
    vendors = text.target.chip.platform.image
    if advice.verdict == "rewritten":
        return Place(start, end, "rewritten", advice.reason, (Edit(start, end, advice.text),))
    if advice.verdict == "needs-you" and vendors and not text.target.audit:
        edits = (
            Edit(first, first, f"ARG {base}={found[1]}{text.newline}"),
            Edit(start, end, f"${{{base}}}"),
        )
        reason = f"for this chip: docker build --build-arg {base}={vendors}, with the tag of your chip and driver"
        return Place(start, end, "rewritten", reason, edits)
    return Place(start, end, advice.verdict, advice.reason)


def _argument(instruction: Instruction, written: str, text: Text) -> Place:
    name = written.partition("=")[0].strip()
    vendors = text.target.chip.platform.image
    if re.search(rf"^[ \t]*FROM[ \t].*\$\{{?{re.escape(name)}\b", text.text, re.MULTILINE | re.IGNORECASE) and vendors:
        return _plain(
            instruction, safe(f"a default: docker build --build-arg {name}={vendors} starts from this chip's")
        )
    advice = images.advice(written.partition("=")[2].strip("'\""), text.target) or _rest(text)
    if advice.verdict == "rewritten":
        advice = needs_you(advice.reason)
    return _plain(instruction, advice)


def _commands(instruction: Instruction, text: Text) -> Iterator[Place]:
    written = text.text[instruction.start : instruction.end]
    try:
        if not written.strip():
            return
        if written.startswith("["):
            yield from _listed(instruction, text)
        elif instruction.name in ("ENV", "ARG") and "=" not in written.split()[0]:
            yield from _variable(instruction, written.split()[0], text)
        elif instruction.name == "ARG":
            yield from _variable(instruction, written.partition("=")[0], text)
        else:
            start = text.text.find("\n", instruction.start) if _DOCUMENT.match(written) else instruction.start
            yield from places(Site(text.text, text.target), start, instruction.end)
    except NotReadable:
        if is_bound(written):
            yield _plain(instruction, _rest(text))


def _listed(instruction: Instruction, text: Text) -> Iterator[Place]:
    """`CMD ["python", "train.py", "--device", "cuda"]`."""
    for s in read_json.scalars(text.text, instruction.start, instruction.end):
        keys = (s.before,) if s.before.startswith("-") else ()
        advice = settings.advice(keys, s.value, text.target)
        if advice is not None:
            edits = (Edit(s.start, s.end, advice.text),) if advice.verdict == "rewritten" else ()
            yield Place(s.start, s.end, advice.verdict, advice.reason, edits)


def _variable(instruction: Instruction, name: str, text: Text) -> Iterator[Place]:
    """`ENV NAME value` and `ARG NAME=value`."""
    if not is_bound(text.text[instruction.start : instruction.end]):
        return
    advice = variables.advice(name, text.target) if variables.is_cudas(name) else None
    if advice is not None and advice.verdict == "rewritten":
        advice = needs_you(f"set {advice.text} to the same value: this chip's software reads that")
    elif advice is None and instruction.name == "ARG":
        advice = safe("an argument of your own: what uses it is looked at")
    yield _plain(instruction, advice or _rest(text))
