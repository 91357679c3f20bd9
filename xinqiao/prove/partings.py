"""Where the calls of two runs part: calls without a counterpart, and counterparts that differ."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from xinqiao.prove.align import align
from xinqiao.prove.bound import bound, coarsest, of_one_call
from xinqiao.prove.calls import FROM_HOST, RANDOM, TO_HOST, Call, Calls, distance
from xinqiao.prove.scalars import apart
from xinqiao.record.schema import CallKind, Parting, Site

Weight = Literal["differs", "close", "note"]
_MARKS = {  # mark: (kind, what is missing in words)
    "synchronize": ("synchronize", "waits for the device"),
    "seed": ("random", "seeds the device's random numbers"),
    "autocast": ("autocast", "enters mixed precision"),
    "collective": ("collective", "communicates"),
    "number": ("number", "reads a number back"),
    "module": ("missing", "runs a module"),
}


@dataclass
class Walk:
    """Both runs of one rank, walked along. Sets of modules are of those that ran on both sides."""

    original: Calls
    port: Calls
    rank: int
    partings: list[Parting] = field(default_factory=list)
    calls: int = 0
    calls_equal: int = 0
    numbers: int = 0
    numbers_equal: int = 0
    modules: set[str] = field(default_factory=set)
    modules_apart: set[str] = field(default_factory=set)
    _at: int = 0  # the call of the original that was looked at last
    _said: set[tuple[str, str, int]] = field(default_factory=set)
    _values_part: bool = False

    def __post_init__(self) -> None:
        self._bound = bound(coarsest([*self.original.evidence.kinds, *self.port.evidence.kinds]))
        before, after = self.original.threads, self.port.threads
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

    # ---- calls that have their counterpart ----

    def _pair(self, i: int, j: int) -> None:
        a, b, self._at = self.original.all[i], self.port.all[j], i
        if self.original.is_mark(a):
            self._pair_of_marks(i, a, b)
            return
        self.calls += 1
        before, after = self.original.kind(a), self.port.kind(b)
        if _dtypes(before) != _dtypes(after):
            self._say("dtype", "differs", i, a, b, f"computes in {after.dtype}, the original in {before.dtype}")
        elif before.tensors != after.tensors:
            self._say("shape", "differs", i, a, b, "has other shapes than the original")
        elif a.hash != b.hash:
            self._values(i, a, b, before)
        else:
            self.calls_equal += 1

    def _values(self, i: int, a: Call, b: Call, kind: CallKind) -> None:
        if self._values_part:
            return  # what follows from the first
        self._values_part = True
        apart_by = distance(a, b)
        if a.flags & FROM_HOST:
            what, weight = "other data comes from the host", "differs"
        elif a.flags & RANDOM:
            what, weight = "draws other random numbers", "differs"
        else:
            what = "computes other values"
            weight = "close" if apart_by is not None and apart_by <= of_one_call(kind) else "differs"
        named = "random" if a.flags & RANDOM else "values"
        self._say(named, weight, i, a, b, what, apart_by)  # type: ignore[arg-type]

    def _pair_of_marks(self, i: int, a: Call, b: Call) -> None:
        name, same = self.original.kind(a).operator, a.hash == b.hash
        if name.startswith("module"):
            self.modules.add(self.original.module(a))
            if not same:
                self.modules_apart.add(self.original.module(a))
                if not self._values_part and name == "module inputs":
                    return  # the call that made them says it better
        elif name == "number read":
            self.numbers += 1
            self.numbers_equal += same
            if not same:
                far = apart(a.square, b.square)
                weight: Weight = "close" if far <= self._bound else "differs"
                said = f"reads back {b.square:.9g}, the original {a.square:.9g}"
                self._say("number", weight, i, a, b, said, far)
        elif not same:
            said = {"seed": f"seeds with {b.hash}, the original with {a.hash}"}.get(name, "is not the same")
            self._say(_MARKS.get(name.split()[0], (name, ""))[0], "differs", i, a, b, said)

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
        extra = sorted(j for partners in waiting.values() for j in partners)
        self._without_counterpart(alone, extra)

    def _without_counterpart(self, alone: list[int], extra: list[int]) -> None:
        marks, calls = _split(self.original, alone)
        other_marks, other_calls = _split(self.port, extra)
        for i in marks:
            self._mark_alone(i, of_port=False)
        for j in other_marks:
            self._mark_alone(j, of_port=True)
        if calls and other_calls:
            self._replaced(calls, other_calls)
        elif calls:
            call = self.original.all[calls[0]]
            names = _counted(self.original, calls)
            self._one_sided(
                "missing",
                "differs",
                call,
                calls[0],
                f"does not do on the device what the original does: {names}",
                of_port=False,
            )
        elif other_calls:
            call = self.port.all[other_calls[0]]
            through_host = any(self.port.all[j].flags & (FROM_HOST | TO_HOST) for j in other_calls)
            said = f"also does {_counted(self.port, other_calls)}"
            kind, weight = ("host", "differs") if through_host else ("extra", "note")
            self._one_sided(kind, weight, call, self._at, said, of_port=True)  # type: ignore[arg-type]

    def _replaced(self, calls: list[int], other: list[int]) -> None:
        a, b = self.original.all[calls[0]], self.port.all[other[0]]
        said = f"does {_counted(self.port, other)} where the original does {_counted(self.original, calls)}"
        apart_in_dtype = _made(self.original, calls) != _made(self.port, other)
        self._say(
            "dtype" if apart_in_dtype else "replaced", "differs" if apart_in_dtype else "note", calls[0], a, b, said
        )

    def _mark_alone(self, number: int, *, of_port: bool) -> None:
        side = self.port if of_port else self.original
        call = side.all[number]
        name = side.kind(call).operator
        kind, words = _MARKS.get(name.split()[0], (name, name))
        if name == "elapsed time" or (of_port and kind in ("missing", "number", "synchronize")):
            return  # the calls inside a module say it; waiting more often changes no answer
        said = f"{words} here, the original does not" if of_port else f"no longer {words} here"
        self._one_sided(kind, "differs", call, self._at if of_port else number, said, of_port=of_port)

    # ---- words ----

    def _say(self, kind: str, weight: Weight, i: int, a: Call, b: Call, said: str, far: float | None = None) -> None:
        site = self.port.site(b)
        if self._new(kind, site):
            details = [f"original: {_shown(self.original.kind(a))}", f"port:     {_shown(self.port.kind(b))}"]
            self.partings.append(
                Parting(
                    kind=kind, weight=weight, rank=self.rank, order=i, message=said, original=self.original.site(a),
                    port=site, module=self.original.module(a), operator=_operator(self.original.kind(a)), distance=far,
                    details=details if "::" in self.original.kind(a).operator else [],
                )
            )  # fmt: skip

    def _one_sided(self, kind: str, weight: Weight, call: Call, order: int, said: str, *, of_port: bool) -> None:
        side = self.port if of_port else self.original
        site = side.site(call)
        there = site if of_port else self._in_the_port(site)
        if self._new(kind, there):
            self.partings.append(
                Parting(
                    kind=kind, weight=weight, rank=self.rank, order=order, message=said,
                    original=None if of_port else site, port=there, module=side.module(call),
                    operator=_operator(side.kind(call)), details=[],
                )
            )  # fmt: skip

    def _in_the_port(self, site: Site) -> Site:
        lines = self.port.lines
        line = lines.port_of(site.file, site.line) if lines else site.line
        return Site(file=site.file, line=line, function=site.function)

    def _new(self, kind: str, site: Site) -> bool:
        """Once for each line: a loop says the same thing again and again."""
        key = (kind, site.file, site.line)
        fresh = key not in self._said
        self._said.add(key)
        return fresh


def _split(side: Calls, numbers: list[int]) -> tuple[list[int], list[int]]:
    marks = [n for n in numbers if side.is_mark(side.all[n])]
    return marks, [n for n in numbers if not side.is_mark(side.all[n])]


def _dtypes(kind: CallKind) -> list[str]:
    return [dtype for dtype, _ in kind.tensors]


def _made(side: Calls, numbers: list[int]) -> set[str]:
    """Floating dtypes of what some calls computed."""
    kinds = (side.kind(side.all[n]) for n in numbers)
    return {d for k in kinds for d, _ in k.tensors[k.inputs :] or k.tensors if d.startswith(("float", "bfloat"))}


def _counted(side: Calls, numbers: list[int]) -> str:
    counts = Counter(_operator(side.kind(side.all[n])).removeprefix("aten::") for n in numbers)
    most = [f"{name} ×{n}" if n > 1 else name for name, n in counts.most_common(4)]
    return ", ".join(most) + (f" and {len(counts) - 4} other operators" if len(counts) > 4 else "")


def _operator(kind: CallKind) -> str:
    return kind.operator if "::" in kind.operator else ""


def _shown(kind: CallKind) -> str:
    tensors = [f"{dtype}{shape}" for dtype, shape in kind.tensors]
    return f"{kind.operator} ({', '.join(tensors[: kind.inputs])}) → {', '.join(tensors[kind.inputs :]) or 'in place'}"


def walk(original: Calls, port: Calls, rank: int) -> Walk:
    """Lay the two runs of one rank side by side."""
    return Walk(original, port, rank)


def in_order(partings: list[Parting]) -> Iterator[Parting]:
    """Differences before notes; the first of the original first; what has no place in it last."""
    rank_of = {"differs": 0, "close": 1, "note": 2}
    return iter(sorted(partings, key=lambda p: (rank_of[p.weight], p.order < 0, p.order, p.rank)))
