"""What one file tells the project about where its values go; plain data, so that it passes between processes."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Call(NamedTuple):
    """callee: as `Values.callee` has it. arguments: (position or keyword, slots of the value). result: a slot."""

    callee: str
    arguments: tuple[tuple[int | str, tuple[str, ...]], ...]
    result: str


@dataclass(frozen=True, slots=True)
class Function:
    """parameters: slots of all but the variable ones, in order, without a method's first."""

    name: str
    parameters: tuple[str, ...]
    keywords_only: int  # how many of them, at the end, take no position
    rest: str  # the slot of **kwargs or *args, else ''
    result: str
    of_class: str  # the class's slot, else ''


@dataclass(frozen=True, slots=True)
class Class:
    """bases: as callees. fields: names that have an annotation, in order."""

    slot: str
    bases: tuple[str, ...]
    methods: tuple[str, ...]
    fields: tuple[str, ...]


@dataclass
class Facts:
    """One file's.

    edges     (from, to): a value flows on whole
    parts     (from, to): it becomes a part of a text
    uses      (slot, use): what takes it, such as 'device' or 'key'
    lookups   (table, key): a value is looked up in a dictionary
    derived   (object, result of a method): what a method of a tensor gives is a tensor, as far as one can tell
    compared  two slots whose values are compared, each way round
    """

    path: str
    edges: list[tuple[str, str]] = field(default_factory=list)
    parts: list[tuple[str, str]] = field(default_factory=list)
    uses: list[tuple[str, str]] = field(default_factory=list)
    compared: list[tuple[str, str]] = field(default_factory=list)
    lookups: list[tuple[str, str]] = field(default_factory=list)
    derived: list[tuple[str, str]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    functions: list[tuple[str, Function]] = field(default_factory=list)  # by the slot of its name
    classes: list[tuple[str, Class]] = field(default_factory=list)
    imported: dict[str, str] = field(default_factory=dict)
    stars: tuple[str, ...] = ()
    scripts: bool = False  # it has functions compiled by torch.jit.script
