"""The files of a project together: calls are linked to functions, values followed until nothing new is reached."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from xinqiao.port.facts import Facts
from xinqiao.port.known import FIXED, Known, Modules
from xinqiao.port.link import Linked, link
from xinqiao.port.scopes import module_name
from xinqiao.port.sinks import means_backend, means_device

_THROUGH_TEXT = ("message", "text")  # what takes a text also takes what was written into it
_LABELS = {"#device": "device", "#backend": "backend", "#none": "none", "#torch": "torch"}
Graph = Mapping[str, list[str]]


def together(files: Iterable[Facts]) -> Known:
    """What the files of a project tell of each other."""
    facts = list(files)
    linked = link(facts, _modules(facts))
    backward: defaultdict[str, list[str]] = defaultdict(list)
    forward: defaultdict[str, list[str]] = defaultdict(list)
    for start, end in linked.edges:
        backward[end].append(start)
        forward[start].append(end)
    named = _conventional({*backward, *forward, *(s for s, _ in linked.uses), *(s for _, s in linked.compared)})
    uses = {kind: set(named.get(kind, ())) for kind in ("device", "backend", "map_location")}
    for slot, kind in linked.uses:
        uses.setdefault(kind, set()).add(slot)
    holds = _held(linked, forward, named)
    for start, end in linked.derived:
        forward[start].append(end)
    holds["torch"] = _closure(holds["torch"], forward)
    for kind in ("device", "backend"):
        uses[kind] = _reaching(uses[kind], holds[kind], backward, linked.compared)
    devices = uses["device"] | holds["device"]
    uses["table"] = {table for table, key in linked.lookups if key in devices}
    texts, certain = _with_parts(backward, linked.parts), _certain(linked)
    for kind in uses.keys() - {"device", "backend"}:
        graph = certain if kind in FIXED else texts if kind in _THROUGH_TEXT else backward
        uses[kind] = _closure(uses[kind], graph)
    scripts = any(f.scripts for f in facts)
    return Known(_by_slot(uses), _by_slot(holds), linked.methods, linked.modules, scripts, complete=True)


def _modules(facts: list[Facts]) -> Modules:
    """A module may be imported by its whole name, or by any end of it that no other module's name has."""
    paths: dict[str, str] = {}
    several: set[str] = set()
    for f in facts:
        name = module_name(f.path)
        while name:
            if paths.setdefault(name, f.path) != f.path and module_name(f.path) != name:
                several.add(name)
            elif module_name(f.path) == name:
                paths[name] = f.path
            name = name.partition(".")[2]
    whole = {module_name(f.path) for f in facts}
    unique = {name: path for name, path in paths.items() if name in whole or name not in several}
    return Modules(unique, {f.path: f.imported for f in facts}, {f.path: f.stars for f in facts if f.stars})


def _conventional(slots: Iterable[str]) -> dict[str, set[str]]:
    """Slots with a name that by convention is a device's or a back end's."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for slot in slots:
        by_name[slot.rpartition(":")[2].lstrip(".=")].append(slot)
    found: dict[str, set[str]] = {"device": set(), "backend": set(), "map_location": set()}
    for name, same in by_name.items():
        if name == "map_location":
            found[name].update(same)
        if name and means_device(name):
            found["device"].update(same)
        elif name and means_backend(name):
            found["backend"].update(same)
    return found


def _held(linked: Linked, forward: Graph, named: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Label → slots whose value may be that."""
    labels = {label: {slot} for slot, label in _LABELS.items()}
    for slot in forward:
        if slot.startswith("#class "):
            methods = linked.methods.get(slot.removeprefix("#class "), ())
            labels.setdefault(" ".join(["class", *sorted(methods)]), set()).add(slot)
    for kind in ("device", "backend"):
        labels[kind] |= named[kind]
    return {label: _closure(slots, forward) for label, slots in labels.items()}


def _reaching(seeds: set[str], holding: set[str], backward: Graph, compared: Iterable[tuple[str, str]]) -> set[str]:
    """Slots whose value is used as a device (or back end), is put where one is held, or is compared with one."""
    reached = _closure(seeds, backward)
    for slot in holding:
        reached.update(start for start in backward.get(slot, ()) if start.endswith(":"))
    pairs = list(compared)
    while True:
        new = {a for a, b in pairs if a not in reached and (b in reached or b in holding)}
        if not new:
            return reached
        reached |= _closure(new, backward)


def _closure(seeds: Iterable[str], graph: Graph) -> set[str]:
    reached = set(seeds)
    waiting = list(reached)
    while waiting:
        for slot in graph.get(waiting.pop(), ()):
            if slot not in reached:
                reached.add(slot)
                waiting.append(slot)
    return reached


def _with_parts(backward: Graph, parts: Iterable[tuple[str, str]]) -> Graph:
    both: defaultdict[str, list[str]] = defaultdict(list, {slot: list(starts) for slot, starts in backward.items()})
    for start, end in parts:
        both[end].append(start)
    return both


def _certain(linked: Linked) -> Graph:
    """Backward, without what is known by a name alone: attributes, keys, methods of unknown objects."""
    graph: defaultdict[str, list[str]] = defaultdict(list)
    for start, end in (*linked.edges, *linked.parts):
        if end[0] not in ".=" and start[0] not in ".=" and (start, end) not in linked.guessed:
            graph[end].append(start)
    return graph


def _by_slot(sets: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    """Turned round, for the slots that are expressions: those that rules ask about."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for kind, slots in sets.items():
        for slot in slots:
            if slot.endswith(":"):
                found[slot].add(kind)
    return {slot: frozenset(kinds) for slot, kinds in found.items()}
