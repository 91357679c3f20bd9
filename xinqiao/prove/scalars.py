"""What a program said itself: numbers that it read back from its device, and lines that it printed."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isnan

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf)(?![\w.]*\d)")
# Times, rates and sizes differ from run to run.
_CLOCK_AFTER = re.compile(
    r"\s*(?:(?:of|/)\s*[\d.]+\s*)?(?:[munµ]?s(?:ec(?:ond)?s?)?|min(?:utes?)?|h(?:ours?)?|[kKMGT]?i?B|it/s|[\w/]+/s(?:ec)?|\w+/(?:sec|second)|[kMG]?Hz|T?FLOPS?)\b"
)
_CLOCK_BEFORE = re.compile(
    r"(?i)(?:time|elapsed|eta|took|takes|speed|throughput|duration|latency|mem(?:ory)?|date|seconds|alloc\w*|reserved|peak|"
    r"fps|mfu|per.sec\w*|version|pid|port|device|capability)\W{0,3}(?:\w+\W{0,2})?$"
)
_STAMPS = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?|0x[0-9a-fA-F]+")
_NOISE = re.compile(r"Warning\b|^\s*(?:File \"|Traceback|warnings\.warn)|it/s\]|\[rank\d+\]:|^[IWEF]\d{4} ")


@dataclass(frozen=True)
class Printed:
    """A printed line: its words, and the numbers in it that a run repeats."""

    words: str
    numbers: tuple[float, ...]
    text: str


def printed(lines: Iterable[str], names: Iterable[str]) -> Iterator[Printed]:
    """The lines that say something to compare. names: words for the device, which differ."""
    device = re.compile("|".join(re.escape(n) for n in sorted(names, key=len, reverse=True) if n))
    for line in lines:
        if _NOISE.search(line):
            continue
        text = _STAMPS.sub("", device.sub("@", line))
        found, words, at = [], "", 0
        for match in NUMBER.finditer(text):
            words += text[at : match.start()] + "#"
            at = match.end()
            if not (_CLOCK_AFTER.match(text, at) or _CLOCK_BEFORE.search(text[: match.start()])):
                found.append(float(match[0]))
        if found:
            yield Printed(" ".join((words + text[at:]).split()), tuple(found), line.strip())


@dataclass(frozen=True)
class Pair:
    """Line `step` of those with the same words, on both sides."""

    step: int
    original: Printed
    port: Printed

    @property
    def distance(self) -> float:
        return max((apart(a, b) for a, b in zip(self.original.numbers, self.port.numbers, strict=True)), default=0.0)


def lined_up(original: Iterable[Printed], port: Iterable[Printed]) -> tuple[list[Pair], list[Printed]]:
    """(lines with the same words, in order; lines of the original that the port does not print)."""
    waiting: dict[tuple[str, int], list[Printed]] = defaultdict(list)
    for line in port:
        waiting[line.words, len(line.numbers)].append(line)
    taken: dict[tuple[str, int], int] = defaultdict(int)
    pairs, alone = [], []
    for line in original:
        key = (line.words, len(line.numbers))
        step = taken[key]
        taken[key] += 1
        if step < len(waiting[key]):
            pairs.append(Pair(step, line, waiting[key][step]))
        else:
            alone.append(line)
    return pairs, alone


def apart(a: float, b: float) -> float:
    """|a − b| relative to the larger; 0 where both are the same or neither is a number."""
    if a == b or (isnan(a) and isnan(b)):
        return 0.0
    if isnan(a) or isnan(b) or abs(a) == float("inf") or abs(b) == float("inf"):
        return float("inf")
    return abs(a - b) / max(abs(a), abs(b))
