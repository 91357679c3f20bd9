"""Which function, class or module of the project a call or an import means."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from xinqiao.port import sinks
from xinqiao.port.facts import Call, Class, Facts, Function
from xinqiao.port.known import Modules

_CUDA_METHODS = {"cuda", "is_cuda", "to"}
_DEEP = 32  # classes above one that are looked at
_MANY = 12  # a method that so many classes have says nothing


@dataclass
class Linked:
    """The whole project's edges, uses and comparisons; see `Facts`."""

    modules: Modules
    edges: list[tuple[str, str]] = field(default_factory=list)
    parts: list[tuple[str, str]] = field(default_factory=list)
    uses: list[tuple[str, str]] = field(default_factory=list)
    lookups: list[tuple[str, str]] = field(default_factory=list)
    derived: list[tuple[str, str]] = field(default_factory=list)
    guessed: set[tuple[str, str]] = field(default_factory=set)  # edges to functions known by their names alone
    compared: list[tuple[str, str]] = field(default_factory=list)
    methods: dict[str, frozenset[str]] = field(default_factory=dict)


@dataclass
class _Names:
    modules: Modules
    functions: dict[str, Function] = field(default_factory=dict)
    methods: defaultdict[str, list[Function]] = field(default_factory=lambda: defaultdict(list))
    by_class: dict[tuple[str, str], Function] = field(default_factory=dict)
    classes: dict[str, Class] = field(default_factory=dict)  # by the slot of the name
    by_slot: dict[str, Class] = field(default_factory=dict)  # by the class's own
    imported: dict[str, str] = field(default_factory=dict)

    def slot(self, slot: str) -> str:
        """'@package.module.name' → that module's variable, '.name' for a part of one, '' outside the project."""
        if not slot.startswith("@"):
            return slot
        dotted = self.modules.real(slot[1:])
        if dotted.startswith("torch."):
            return "#torch"
        found = self.modules.find(dotted)
        if found is None or not found[1]:
            return ""
        path, rest = found
        return f".{rest.rpartition('.')[2]}" if "." in rest else f"{path}::{rest}"

    def follow(self, slot: str) -> str:
        """Where a name was defined that came through imports."""
        for _ in range(8):
            slot = self.slot(slot)
            if slot in self.functions or slot in self.classes or slot not in self.imported:
                return slot
            slot = self.imported[slot]
        return slot

    def outside(self, callee: str) -> str:
        """The dotted name of what is not the project's own."""
        slot = self.imported.get(callee, callee)
        return self.modules.real(slot[1:]) if slot.startswith("@") else ""

    def class_of(self, callee: str) -> Class | None:
        return self.classes.get(self.follow(callee))

    def bases(self, found: Class) -> Iterator[Class]:
        """The class and those of the project that it derives from."""
        seen: set[str] = set()
        waiting = [found]
        while waiting and len(seen) < _DEEP:
            here = waiting.pop()
            if here.slot not in seen:
                seen.add(here.slot)
                yield here
                waiting += [base for name in here.bases if (base := self.class_of(name)) is not None]

    def method(self, found: Class, name: str) -> Function | None:
        methods = (self.by_class.get((c.slot, name)) for c in self.bases(found))
        return next((m for m in methods if m is not None), None)

    def targets(self, callee: str) -> list[Function]:
        """The functions that a callee may be; none where it is not the project's."""
        if callee.startswith("?"):
            found = self.methods.get(callee[1:], [])
            return found if len(found) <= _MANY else []
        if callee.startswith(("self ", "super ")):
            kind, slot, name = _three(callee)
            here = self.by_slot.get(slot)
            if here is None:
                return []
            start = [here] if kind == "self" else [b for n in here.bases if (b := self.class_of(n)) is not None]
            methods = [m for c in start if (m := self.method(c, name)) is not None]
            return methods or (self.methods.get(name, []) if kind == "self" else [])
        function = self.functions.get(self.follow(callee)) if callee else None
        return [function] if function is not None else []


def _three(callee: str) -> tuple[str, str, str]:
    kind, _, rest = callee.partition(" ")
    slot, _, name = rest.rpartition(" ")
    return kind, slot, name


def link(facts: list[Facts], modules: Modules) -> Linked:
    """One graph out of the graphs of the files."""
    names = _names(facts, modules)
    linked = Linked(modules)
    for f in facts:
        linked.edges += [(a, b) for start, end in f.edges if (a := names.slot(start)) and (b := names.slot(end))]
        linked.parts += [(a, end) for start, end in f.parts if (a := names.slot(start))]
        linked.uses += [(a, use) for slot, use in f.uses if (a := names.slot(slot))]
        linked.lookups += [(a, b) for x, y in f.lookups if (a := names.slot(x)) and (b := names.slot(y))]
        linked.derived += [(a, end) for start, end in f.derived if (a := names.slot(start))]
        linked.compared += [(a, b) for x, y in f.compared if (a := names.slot(x)) and (b := names.slot(y))]
        for call in f.calls:
            _link_call(call, names, linked)
    for found in names.by_slot.values():
        bases = [f"#class {base.slot}" for name in found.bases if (base := names.class_of(name)) is not None]
        linked.edges += [(base, f"#super {found.slot}") for base in bases or ["#torch"]]
        line = list(names.bases(found))
        own = {m for c in line for m in c.methods if m in _CUDA_METHODS}
        outside = {b.rpartition(".")[2] for c in line for b in c.bases if names.class_of(b) is None}
        linked.methods[found.slot] = frozenset(own | ({"Module"} if any("Module" in b for b in outside) else set()))
    return linked


def _names(facts: list[Facts], modules: Modules) -> _Names:
    names = _Names(modules)
    for f in facts:
        for slot, function in f.functions:
            if function.of_class:
                names.methods[function.name].append(function)
                names.by_class.setdefault((function.of_class, function.name), function)
            else:
                names.functions.setdefault(slot, function)
        for slot, found in f.classes:
            names.classes.setdefault(slot, found)
            names.by_slot[found.slot] = found
        names.imported.update((end, start) for start, end in f.edges if start.startswith("@"))
    return names


def _link_call(call: Call, names: _Names, linked: Linked) -> None:
    found = names.class_of(call.callee) if call.callee and call.callee[0] not in "?" else None
    arguments = [(key, [a for s in slots if (a := names.slot(s))]) for key, slots in call.arguments]
    if found is not None:
        linked.edges.append((f"#class {found.slot}", call.result))
        start = names.method(found, "__init__")
        if start is None:
            _to_fields(arguments, found, linked)
        else:
            _to_parameters(arguments, start, linked)
        return
    if call.callee and (dotted := names.outside(call.callee)).startswith("torch."):
        linked.edges.append(("#torch", call.result))
        _to_torch(arguments, dotted, linked)
        return
    targets = names.targets(call.callee)
    known = len(linked.edges)
    for function in targets:
        linked.edges.append((function.result, call.result))
        _to_parameters(arguments, function, linked)
    if call.callee.startswith("?"):
        linked.guessed.update(linked.edges[known:])
    if not targets:
        _to_strangers(arguments, linked)


_Arguments = Iterable[tuple[int | str, list[str]]]


def _to_parameters(arguments: _Arguments, function: Function, linked: Linked) -> None:
    positions = function.parameters[: len(function.parameters) - function.keywords_only]
    by_name = {p.rpartition(":")[2]: p for p in function.parameters}
    for key, slots in arguments:
        if isinstance(key, int):
            target = positions[key] if key < len(positions) else function.rest
        else:
            target = by_name.get(key, function.rest)
            if key not in by_name and function.rest:
                linked.edges += [(slot, f".{key}") for slot in slots]  # **kwargs
        linked.edges += [(slot, target or f"={key}") for slot in slots]


def _to_fields(arguments: _Arguments, found: Class, linked: Linked) -> None:
    """The constructor of a dataclass, a NamedTuple or the like."""
    for key, slots in arguments:
        if isinstance(key, str) and key != "**":
            linked.edges += [(slot, f".{key}") for slot in slots]
        elif isinstance(key, int) and key < len(found.fields):
            linked.edges += [(slot, f".{found.fields[key]}") for slot in slots]


def _to_torch(arguments: _Arguments, dotted: str, linked: Linked) -> None:
    device, backend = sinks.DEVICE_POSITIONS.get(dotted, ()), sinks.BACKEND_POSITIONS.get(dotted, ())
    for key, slots in arguments:
        uses = ["unknown"]
        if key in device or key in sinks.DEVICE_KEYWORDS or dotted.startswith("torch.cuda."):
            uses = ["device"]
        elif key in backend or (key == "backend" and "distributed" in dotted):
            uses = ["backend"]
        if key == "map_location" or (dotted == "torch.load" and key == 1):
            uses.append("map_location")
        linked.uses += [(slot, use) for slot in slots for use in uses]


def _to_strangers(arguments: _Arguments, linked: Linked) -> None:
    for key, slots in arguments:
        linked.uses += [(slot, "unknown") for slot in slots]
        if isinstance(key, str):
            linked.edges += [(slot, f"={key}") for slot in slots]
