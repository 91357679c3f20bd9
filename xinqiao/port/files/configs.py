"""Configurations name this chip's device, back end, variables, images and number formats.

What it does: in YAML, JSON, TOML and INI files, the values of keys that mean a device, a back end, an image, a command,
an environment variable, a package or a number format are looked at; a key of an environment variable gets the vendor's
beside it, `nproc_per_node: gpu` becomes `auto`, and commands are treated as the rule shell treats them. In the vendor
style devices and back ends are rewritten to the chip's; in the agnostic style they need you, because a file cannot ask
PyTorch. A number format that the chip does not have is refused by it. Everything else in the file stays byte for byte.
Why: a configuration that says `device: cuda` wins over code that would run anywhere.
Unsafe when: never seen in the agnostic style; in the vendor style, where a program gives a key another meaning.
Source: the formats' own specifications; the chip's dtypes and platform file.

    env:                                   →    env:
      CUDA_VISIBLE_DEVICES: "0,1"          →      CUDA_VISIBLE_DEVICES: "0,1"
                                           →      VENDOR_VISIBLE_DEVICES: "0,1"
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from xinqiao.port.files import packages, read_ini, read_json, read_toml, read_yaml, settings, variables
from xinqiao.port.files.advice import OWN_MAKER, Advice, is_cudas_own, needs_you
from xinqiao.port.files.commands import Site, places
from xinqiao.port.files.scalars import Scalar
from xinqiao.port.files.text import NotReadable, Place, Text
from xinqiao.port.source import Edit
from xinqiao.port.words import is_bound

_COMMANDS = {"run", "script", "scripts", "command", "commands", "cmd", "entrypoint", "args", "before_script", "test",
             "after_script", "install", "setup", "post_install", "tasks"}  # fmt: skip
_REQUIREMENTS = re.compile(
    r"(^|[-_.])(dependencies|requires|requirements|packages|extras|extras_require|dependency-groups|pip)$"
)
_ITEM = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_CONTAINERS = re.compile(r"runtime|driver|gpus|runtimeClassName|capabilities|default-runtime")
_RESOURCE = re.compile(r"(requests\.)?nvidia\.com/.*")
_ADDRESS = re.compile(r"https?://")


def find_yaml(text: Text) -> Iterator[Place]:
    yield from _found(text, read_yaml.scalars(text.text))


def find_json(text: Text) -> Iterator[Place]:
    yield from _found(text, read_json.scalars(text.text))


def find_toml(text: Text) -> Iterator[Place]:
    yield from _found(text, read_toml.scalars(text.text))


def find_ini(text: Text) -> Iterator[Place]:
    yield from _found(text, read_ini.scalars(text))


def _found(text: Text, scalars: Iterable[Scalar]) -> Iterator[Place]:
    table = list(scalars)
    present = {(*s.keys[:-1], s.keys[-1]) for s in table if s.keys and s.entry}
    present |= {(*s.keys, m[1]) for s in table if not s.entry and (m := _ITEM.match(s.value))}
    for scalar in table:
        yield from _scalar(scalar, present, text)


def _scalar(s: Scalar, present: set[tuple[str, ...]], text: Text) -> Iterator[Place]:
    name = s.keys[-1] if s.keys else ""
    item = _ITEM.match(s.value)
    if s.is_key:
        yield from _key(s, text)
    elif s.entry and variables.is_cudas(name):
        yield from _variable(s, name, present, text)
    elif item and not s.entry and s.exact and variables.is_cudas(item[1]):
        yield from _variable(s, item[1], present, text)
    elif name == "name" and variables.is_cudas(s.value):
        yield from _advised(s, _named(s, text), text)
    elif s.entry and variables.is_path(name) and is_bound(s.value):
        yield from _advised(s, variables.ON_A_PATH, text)
    elif _is_requirement(s):
        yield from _advised(s, _requirement(s, text), text)
    elif _is_command(s) and (found := _command(s, text)) is not None:
        yield from found
    else:
        yield from _advised(s, _value(s, text), text)


def _key(s: Scalar, text: Text) -> Iterator[Place]:
    """A key whose value is a list or a table."""
    if is_bound(s.value):
        advice = settings.OWN_KEY
        if s.keys and _REQUIREMENTS.search(s.keys[-1]):
            advice = packages.advice(s.value, text.target) or advice
        yield Place(s.start, s.end, advice.verdict, advice.reason)


def _variable(s: Scalar, name: str, present: set[tuple[str, ...]], text: Text) -> Iterator[Place]:
    advice = variables.advice(name, text.target)
    start, end = s.entry or (s.start, s.end)
    begin = text.text.find(name, start, s.end)
    where = (*(s.keys[:-1] if s.entry else s.keys), advice.text)
    if advice.verdict != "rewritten":
        yield Place(start, end, advice.verdict, advice.reason)
    elif text.target.style == "vendor" and begin >= 0:
        yield Place(
            begin, begin + len(name), "rewritten", advice.reason, (Edit(begin, begin + len(name), advice.text),)
        )
    elif where in present:
        yield Place(start, end, "safe", f"{advice.text} is set beside it")
    elif (edit := _beside(s, name, advice.text, text)) is None:
        yield Place(start, end, "needs-you", f"set {advice.text} to the same value: this chip's software reads that")
    else:
        yield Place(start, end, "rewritten", advice.reason, (edit,))


def _beside(s: Scalar, name: str, vendors: str, text: Text) -> Edit | None:
    """An entry of the same value after this one, in the file's own layout."""
    start, end = s.entry or (s.start - len(s.quote), s.end + len(s.quote))
    written = text.text[start:end]
    if s.quote == "|" or "\n" in written or name not in written:
        return None
    line = text.text.rfind("\n", 0, start) + 1
    indent = text.text[line:start]
    added = written.replace(name, vendors, 1)
    if text.path.endswith((".json", ".jsonc", ".code-workspace")):
        between = f",{text.newline}{indent}" if not indent.strip() else ", "
        return Edit(end, end, f"{between}{added}")
    alone = not indent.strip(" -" if not s.entry else " ")
    return Edit(end, end, f"{text.newline}{indent}{added}") if alone else None


def _named(s: Scalar, text: Text) -> Advice:
    """`- name: CUDA_VISIBLE_DEVICES`, whose value stands in another line."""
    advice = variables.advice(s.value, text.target)
    if advice.verdict == "rewritten" and text.target.style == "agnostic":
        return needs_you(f"add {advice.text} with the same value: this chip's software reads that")
    return advice


def _is_requirement(s: Scalar) -> bool:
    return bool(_ADDRESS.match(s.value)) or _lists_requirements(s.keys, s.keys[:-1] if s.entry else s.keys)


@lru_cache(1024)  # a list's values have the same keys, and there may be many
def _lists_requirements(all_keys: tuple[str, ...], keys: tuple[str, ...]) -> bool:
    near = keys[-2:] if keys and keys[0] in ("project", "tool", "dependency-groups", "options") else keys[-1:]
    listed = bool(all_keys) and _REQUIREMENTS.search(all_keys[-1].replace("install_requires", "requires"))
    return bool(listed) or any(_REQUIREMENTS.search(k) for k in near) or all_keys[-1:] == ("channels",)


def _requirement(s: Scalar, text: Text) -> Advice | None:
    target = text.target
    if _ADDRESS.match(s.value):
        return packages.index_advice(s.value, target) or _value(s, text)
    if s.keys[-1:] == ("channels",):
        known = OWN_MAKER if is_cudas_own(target) else needs_you("a channel of CUDA's packages: leave it out")
        return known if is_bound(s.value) else None
    if s.entry and not _REQUIREMENTS.search(s.keys[-1].replace("install_requires", "requires")):
        return _pinned(s, text) or _value(s, text)
    return packages.line_advice(s.value, target, text.text) or _value(s, text)


def _pinned(s: Scalar, text: Text) -> Advice | None:
    """`torch = "2.1.0+cu118"` and `torch = { version = "2.1.0+cu118" }`."""
    name = s.keys[-2] if s.keys[-1] == "version" else s.keys[-1]
    if name in ("source", "extras", "markers", "index", "git", "url", "branch", "rev", "optional", "python"):
        return None
    advice = packages.advice(f"{name} {s.value}", text.target, text.text)
    if advice is not None and advice.verdict == "rewritten":
        return Advice("rewritten", advice.reason, advice.text.removeprefix(f"{name} "))
    return advice


def _is_command(s: Scalar) -> bool:
    return (bool(set(s.keys) & _COMMANDS) and (" " in s.value or s.quote == "|")) or "\n" in s.value.strip()


def _command(s: Scalar, text: Text) -> list[Place] | None:
    """Places in a command line, or lines; None where it is something else."""
    if not (s.exact or s.quote == "|"):
        return None
    start = s.start
    if s.quote == "|" and text.text[start : start + 1] in "|>":
        start = text.text.find("\n", start) + 1 or s.end
    forbidden = {"": "\n{}", "|": ""}.get(s.quote, s.quote)
    try:
        return list(places(Site(text.text, text.target, forbidden=forbidden), start, s.end))
    except NotReadable:
        return None


def _value(s: Scalar, text: Text) -> Advice | None:
    keys = s.keys
    if not s.entry and s.before.startswith("-"):
        keys = (*keys, s.before)
    name = keys[-1] if keys else ""
    if _RESOURCE.fullmatch(name):
        step = "the cluster's plug-in for this chip names its resource: write that one"
        return OWN_MAKER if is_cudas_own(text.target) else needs_you(step)
    container = (_CONTAINERS.fullmatch(name) and s.value in ("nvidia", "gpu", "all")) or (
        name.startswith("nvidia.com") or s.value.startswith("nvidia.com")
    )
    if container and (name != "driver" or s.value == "nvidia"):
        step = "the container's runtime gives this chip in another way: see the vendor's container guide"
        return OWN_MAKER if is_cudas_own(text.target) else needs_you(step)
    return settings.advice(keys, s.value, text.target)


def _advised(s: Scalar, advice: Advice | None, text: Text) -> Iterator[Place]:
    if advice is None:
        return
    start, end = s.entry or (s.start, s.end)
    if advice.verdict != "rewritten":
        yield Place(start, end, advice.verdict, advice.reason)
    elif s.exact and not (s.quote and s.quote in advice.text):
        yield Place(start, end, advice.verdict, advice.reason, (Edit(s.start, s.end, advice.text),))
    else:
        yield Place(start, end, "needs-you", f"{advice.reason}: write {advice.text}")
