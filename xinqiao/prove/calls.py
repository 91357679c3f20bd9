"""The calls of a run, from its record's journal, in a form in which two runs can be laid side by side."""

import base64
import re
import struct
import zlib
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import NamedTuple

from xinqiao.errors import InputError
from xinqiao.prove.lines import Lines
from xinqiao.record.schema import CallKind, Evidence, Site

BACKWARD, RANDOM, FROM_HOST, TO_HOST, HASH_ONLY, GRADIENTS = 1, 2, 4, 8, 16, 32
_ENTRY = struct.Struct("<IIIHHQQddd")
# Kernels that devices name differently and that compute one thing.
_SAME = [
    (re.compile(r"aten::_to_copy$"), "aten::copy_"),
    (re.compile(r"aten::_?scaled_dot_product_\w*attention(_for_cpu)?(_overrideable)?(_backward)?$"), r"attention\3"),
    (re.compile(r"aten::_(?:foreach_|fused_)(adamw?|sgd|adagrad)_?.*"), r"optimizer \1"),
]


class Call(NamedTuple):
    """One entry of the journal; see Evidence for what the numbers mean."""

    kind: int
    site: int
    module: int
    thread: int
    flags: int
    hash: int
    blocks: int
    square: float
    first: float
    second: float


class Key(NamedTuple):
    """What makes a call of one run the same call in the other: never its place in the order."""

    operator: str
    module: str
    file: str
    line: int  # in the original
    backward: bool


@dataclass
class Calls:
    """The calls of one run. `lines`, on the port's side: where its lines stood in the original."""

    evidence: Evidence
    lines: Lines | None = None

    @cached_property
    def all(self) -> list[Call]:
        try:
            packed = zlib.decompress(base64.b64decode(self.evidence.entries))
            return [Call(*entry) for entry in _ENTRY.iter_unpack(packed)]
        except (ValueError, zlib.error, struct.error) as error:
            raise InputError(f"a record's journal is damaged ({error}); run it again") from error

    @cached_property
    def threads(self) -> list[list[int]]:
        """Numbers of calls, thread by thread: autograd's order against the program's own means nothing.

        Seeds are left out: machines have different numbers of devices to seed, and what is drawn shows them.
        """
        found: dict[int, list[int]] = {}
        for number, call in enumerate(self.all):
            if self.evidence.kinds[call.kind].operator != "seed":
                found.setdefault(call.thread, []).append(number)
        return [found[thread] for thread in sorted(found)]

    @cached_property
    def names(self) -> set[str]:
        """Of all operators and marks."""
        return set(self._names)

    def only(self, names: set[str]) -> list[list[int]]:
        """`threads` without the calls of other names."""
        return [[n for n in numbers if self._names[self.all[n].kind] in names] for numbers in self.threads]

    @cached_property
    def _seeds(self) -> list[int]:
        return [n for n, call in enumerate(self.all) if self.evidence.kinds[call.kind].operator == "seed"]

    def seed_before(self, number: int) -> Call | None:
        """The last time that the device's random numbers were seeded before a call."""
        at = bisect_left(self._seeds, number)
        return self.all[self._seeds[at - 1]] if at else None

    def kind(self, call: Call) -> CallKind:
        return self.evidence.kinds[call.kind]

    def is_mark(self, call: Call) -> bool:
        return "::" not in self.kind(call).operator

    def marks(self, numbers: list[int]) -> list[int]:
        return [n for n in numbers if self.is_mark(self.all[n])]

    def operators(self, numbers: list[int]) -> list[int]:
        return [n for n in numbers if not self.is_mark(self.all[n])]

    def module(self, call: Call) -> str:
        return self.evidence.modules[call.module]

    def site(self, call: Call) -> Site:
        return self.evidence.sites[call.site]

    def key(self, number: int) -> Key:
        call = self.all[number]
        site, operator = self._place(call.site), self._names[call.kind]
        return Key(operator, self.module(call), *site, bool(call.flags & BACKWARD))

    @cached_property
    def _names(self) -> list[str]:
        return [_name(kind.operator) for kind in self.evidence.kinds]

    @cached_property
    def _places(self) -> list[tuple[str, int]]:
        lines = self.lines or Lines(None, None)
        return [(s.file, lines.original_of(s.file, s.line)) for s in self.evidence.sites]

    def _place(self, site: int) -> tuple[str, int]:
        return self._places[site]


def _name(operator: str) -> str:
    for pattern, name in _SAME:
        if pattern.match(operator):
            return pattern.sub(name, operator)
    return operator


def distance(a: Call, b: Call) -> float | None:
    """‖a − b‖ / ‖a‖ as the sketches tell it, within a factor of about two; None where they cannot."""
    if (a.flags | b.flags) & HASH_ONLY or a.blocks != b.blocks or not a.blocks:
        return None
    squared = ((a.first - b.first) ** 2 + (a.second - b.second) ** 2) / 2
    if squared == 0.0:
        return None  # what differs was not sketched
    return sqrt(squared / a.square) if a.square else float("inf")
