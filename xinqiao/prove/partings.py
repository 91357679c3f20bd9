"""Where the calls of two runs part: counterparts that differ, and calls without a counterpart."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from xinqiao.prove import words
from xinqiao.prove.align import align
from xinqiao.prove.bound import bound, coarsest, of_one_call
from xinqiao.prove.calls import FROM_HOST, GRADIENTS, RANDOM, TO_HOST, Call, Calls, distance
from xinqiao.prove.scalars import apart
from xinqiao.record.schema import CallKind, Parting, Site

Weight = Literal["differs", "close", "note"]


class Pair(NamedTuple):
    """A call of the original and its counterpart, with their numbers."""

    number: int
    original: Call
    port_number: int
    port: Call


@dataclass
class Walk:
    """Both runs of one rank, walked along. Sets of modules are of those that ran on both sides.

    exact   both sides are virtual. They compute with the same kernels: equal calls on equal values give equal bits, and
            rounding is no excuse, until one side uses other operators. A real device's journal is written above its
            kernels, where operators have other names: then what has no counterpart says nothing
    """

    original: Calls
    port: Calls
    rank: int
    exact: bool
    partings: list[Parting] = field(default_factory=list)
    calls: int = 0
    calls_equal: int = 0
    numbers: int = 0
    numbers_equal: int = 0
    modules: set[str] = field(default_factory=set)
    modules_apart: set[str] = field(default_factory=set)
    _at: int = 0  # the call of the original that was looked at last
    _said: set[tuple[str, str, int]] = field(default_factory=set)
    _structural: bool = True
    _values_part: bool = False
    _gradients_part: bool = False

    def __post_init__(self) -> None:
        self._bound = bound(coarsest([*self.original.evidence.kinds, *self.port.evidence.kinds]))
        self._structural = self.exact
        before, after = self.original.threads, self.port.threads
        if not self._structural:
            common = self.original.names & self.port.names
            before, after = self.original.only(common), self.port.only(common)
        for number in range(max(len(before), len(after))):
            a = before[number] if number < len(before) else []
            b = after[number] if number < len(after) else []
            self._thread(a, b)

    def _thread(self, a: Sequence[int], b: Sequence[int]) -> None:
        keys = [self.original.key(n) for n in a], [self.port.key(n) for n in b]
        for stretch in align(*keys):
            left, right = a[stretch.first : stretch.last], b[stretch.other : stretch.other_last]
            if stretch.equal:
                for i, j in zip(left, right, strict=True):
                    self._pair(i, j)
            else:
                self._gap(left, right)

    # ---- counterparts ----

    def _pair(self, i: int, j: int) -> None:
        pair = Pair(i, self.original.all[i], j, self.port.all[j])
        self._at = i
        if self.original.is_mark(pair.original):
            self._marks(pair)
            return
        self.calls += 1
        before, after = self.original.kind(pair.original), self.port.kind(pair.port)
        if not self._structural and before.tensors != after.tensors:
            self.calls -= 1  # named alike, and something else
        elif _dtypes(before) != _dtypes(after):
            weight: Weight = "note" if _one_number(before) else "differs"
            self._both("dtype", weight, pair, words.dtypes(before, after))
        elif before.tensors != after.tensors:
            self._both("shape", "differs", pair, "has other shapes than the original")
        elif pair.original.hash != pair.port.hash:
            self._values(pair, before)
        elif (pair.original.flags ^ pair.port.flags) & GRADIENTS and not self._gradients_part:
            self._gradients_part = True
            listens = "records" if pair.port.flags & GRADIENTS else "does not record"
            self._both("gradient", "differs", pair, f"{listens} gradients here, unlike the original")
        else:
            self.calls_equal += 1

    def _values(self, pair: Pair, kind: CallKind) -> None:
        if self._values_part:
            return  # what follows from the first
        self._values_part = True
        far = distance(pair.original, pair.port)
        if pair.original.flags & (FROM_HOST | RANDOM):
            self._other_input(pair, far)
        else:
            close = not self.exact and far is not None and far <= of_one_call(kind)
            self._both("values", "close" if close else "differs", pair, "computes other values", far)

    def _other_input(self, pair: Pair, far: float | None) -> None:
        """Random numbers, or data from the host: where the seeds differ, they are why."""
        seeds = self.original.seed_before(pair.number), self.port.seed_before(pair.port_number)
        if seeds[0] and seeds[1] and seeds[0].hash != seeds[1].hash:
            said = f"seeds with {seeds[1].hash}, the original with {seeds[0].hash}"
            self._both("random", "differs", Pair(pair.number, seeds[0], pair.port_number, seeds[1]), said)
        elif pair.original.flags & RANDOM:
            self._both("random", "differs", pair, "draws other random numbers", far)
        else:
            self._both("values", "differs", pair, "gets other data from the host", far)

    def _marks(self, pair: Pair) -> None:
        name, same = self.original.kind(pair.original).operator, pair.original.hash == pair.port.hash
        if name.startswith("module"):
            self._module(name, pair, same=same)
        elif name == "number read":
            self.numbers += 1
            self.numbers_equal += same
            if not same:
                before, after = pair.original.square, pair.port.square
                far = apart(before, after)
                close = not self.exact and far <= self._bound
                said = f"reads back {after:.9g}, the original {before:.9g}"
                self._both("number", "close" if close else "differs", pair, said, far)
        elif not same and name != "elapsed time":
            self._both(words.kind_of(name), "differs", pair, words.other_amount(name, pair.original, pair.port))

    def _module(self, name: str, pair: Pair, *, same: bool) -> None:
        module = self.original.module(pair.original)
        self.modules.add(module)
        if not same:
            self.modules_apart.add(module)
            if name != "module inputs" and not self._values_part:  # no call inside has said so
                self._values_part = True
                self._both("values", "differs", pair, f"{name.removeprefix('module ')} are not the original's")

    # ---- calls that have none ----

    def _gap(self, left: Sequence[int], right: Sequence[int]) -> None:
        """Within a gap, calls of the same name pair up, whatever line they stand on; the rest has no counterpart."""
        waiting: dict[str, list[int]] = defaultdict(list)
        for j in right:
            waiting[self.port.key(j).operator].append(j)
        alone = []
        for i in left:
            partners = waiting[self.original.key(i).operator]
            if partners:
                self._pair(i, partners.pop(0))
            else:
                alone.append(i)
        if not self._structural:
            return
        extra = sorted(j for partners in waiting.values() for j in partners)
        for i in self.original.marks(alone):
            self._mark_lost(i)
        for j in self.port.marks(extra):
            self._mark_added(j)
        self._operators(self.original.operators(alone), self.port.operators(extra))

    def _operators(self, lost: list[int], added: list[int]) -> None:
        if lost and added:
            pair = Pair(lost[0], self.original.all[lost[0]], added[0], self.port.all[added[0]])
            said = (
                f"does {words.counted(self.port, added)} where the original does {words.counted(self.original, lost)}"
            )
            if _made(self.original, lost) == _made(self.port, added):
                self.exact = False
                self._both("replaced", "note", pair, said)
            else:
                self._both("dtype", "differs", pair, said)
        elif lost:
            conversions = all(self._converts_one_number(i) for i in lost)
            said = f"does not do on the device what the original does: {words.counted(self.original, lost)}"
            self._lost("missing", lost[0], said, "note" if conversions else "differs")
        elif added:
            self._extra(added)

    def _extra(self, added: list[int]) -> None:
        said = f"also does {words.counted(self.port, added)}"
        if any(self.port.all[j].flags & (FROM_HOST | TO_HOST) for j in added):
            self._added("host", "differs", added[0], said)
        elif conversions := [j for j in added if _converts(self.port.kind(self.port.all[j]))]:
            self._added("dtype", "differs", conversions[0], said)
        else:
            self._added("extra", "note", added[0], said)

    def _mark_lost(self, number: int) -> None:
        name = self.original.kind(self.original.all[number]).operator
        if name != "elapsed time":
            self._lost(words.kind_of(name), number, f"no longer {words.what(name)} here")

    def _mark_added(self, number: int) -> None:
        name = self.port.kind(self.port.all[number]).operator
        if words.kind_of(name) in (
            "autocast",
            "collective",
            "gradient",
        ):  # to wait or to read more often changes no answer
            self._added(words.kind_of(name), "differs", number, f"{words.what(name)} here, the original does not")

    # ---- what is said ----

    def _both(self, kind: str, weight: Weight, pair: Pair, said: str, far: float | None = None) -> None:
        before, after = self.original.kind(pair.original), self.port.kind(pair.port)
        details = (
            [f"original: {words.call(before)}", f"port:     {words.call(after)}"] if "::" in before.operator else []
        )
        self._add(
            Parting(
                kind=kind, weight=weight, rank=self.rank, order=pair.number, port_order=pair.port_number, message=said,
                original=self.original.site(pair.original), port=self.port.site(pair.port),
                module=self.original.module(pair.original), operator=words.operator(before), distance=far,
                details=details if words.operator(before) else [],
            )
        )  # fmt: skip

    def _converts_one_number(self, number: int) -> bool:
        call = self.original.all[number]
        kind = self.original.kind(call)
        return kind.operator == "aten::copy_" and _one_number(kind) and not call.flags & (FROM_HOST | TO_HOST)

    def _lost(self, kind: str, number: int, said: str, weight: Weight = "differs") -> None:
        call = self.original.all[number]
        site = self.original.site(call)
        line = self.port.lines.port_of(site.file, site.line) if self.port.lines else site.line
        self._add(
            Parting(
                kind=kind, weight=weight, rank=self.rank, order=number, message=said, original=site,
                port=Site(file=site.file, line=line, function=site.function), module=self.original.module(call),
                operator=words.operator(self.original.kind(call)),
            )
        )  # fmt: skip

    def _added(self, kind: str, weight: Weight, number: int, said: str) -> None:
        call = self.port.all[number]
        self._add(
            Parting(
                kind=kind, weight=weight, rank=self.rank, order=self._at, message=said, original=None,
                port=self.port.site(call), module=self.port.module(call), operator=words.operator(self.port.kind(call)),
            )
        )  # fmt: skip

    def _add(self, parting: Parting) -> None:
        """Once for each line: a loop says the same thing again and again."""
        site = parting.port or Site(file="", line=0, function="")
        key = (parting.kind, site.file, site.line)
        if key not in self._said:
            self._said.add(key)
            self.partings.append(parting)


def _dtypes(kind: CallKind) -> list[str]:
    return [dtype for dtype, _ in kind.tensors]


def _one_number(kind: CallKind) -> bool:
    """Of such a call the dtype matters only through its value, and what is computed with it shows that."""
    return all(not shape or shape == [1] for _, shape in kind.tensors)


def _converts(kind: CallKind) -> bool:
    """Whether a call copies from one dtype to another."""
    return kind.operator == "aten::copy_" and len(set(_dtypes(kind))) > 1 and not _one_number(kind)


def _made(side: Calls, numbers: list[int]) -> set[str]:
    """Floating dtypes of what some calls computed."""
    kinds = (side.kind(side.all[n]) for n in numbers)
    return {d for k in kinds for d, _ in k.tensors[k.inputs :] or k.tensors if d.startswith(("float", "bfloat"))}


def in_order(partings: list[Parting]) -> list[Parting]:
    """Differences before notes; the first of the original first; each once for all ranks."""
    weights = {"differs": 0, "close": 1, "note": 2}
    ordered = sorted(partings, key=lambda p: (weights[p.weight], p.order < 0, p.order, p.rank))
    once = {(p.kind, p.weight, p.message, p.port and (p.port.file, p.port.line)): p for p in reversed(ordered)}
    return list(reversed(once.values()))
