"""Which kind a file is by its name, and what becomes of it."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice

from xinqiao.port.engine import Ported
from xinqiao.port.files import builds, configs, dockerfile, notebooks, requirements, shell
from xinqiao.port.files.advice import OWN_MAKER, is_cudas_own, needs_you
from xinqiao.port.files.known import known
from xinqiao.port.files.text import NotReadable, Place, Text, finish, read
from xinqiao.port.target import Target
from xinqiao.port.words import BOUND, PLAIN

MAX_BYTES = 5_000_000  # of a notebook, which holds outputs, or a text
MAX_SETTINGS = 500_000  # of a script or a configuration; what is longer is data
MAX_PLACES = 3_000  # likewise
Find = Callable[[Text], Iterator[Place]]

_KINDS: tuple[tuple[str, str, Find], ...] = (  # the first pattern that fits a path's end decides: rule, how to read it
    (r"\.ipynb", "notebooks", notebooks.find),
    (r"\.(cu|cuh)", "builds", builds.find_kernel),
    (r"(requirements|constraints)[^/]*\.(txt|in)|requirements/[^/]*\.(txt|in)|[-_]requirements\.txt", "requirements",
     requirements.find),
    (r"(^|/)([^/]*\.)?(dockerfile|containerfile)(\.[^/]*)?", "dockerfile", dockerfile.find),
    (r"\.(sh|bash|zsh|ksh|slurm|sbatch|pbs|lsf|command)", "shell", shell.find),
    (r"(^|/)\.env(\.[^/]*)?|\.env|(^|/)\.envrc", "shell", shell.find_in_variables),
    (r"(tokenizer|vocab|special_tokens_map|added_tokens|\.index)[\w.-]*\.json|imagenet[^/]*\.json", "prose",
     builds.find_prose),
    (r"\.ya?ml", "configs", configs.find_yaml),
    (r"\.(json|jsonc|code-workspace)", "configs", configs.find_json),
    (r"\.toml|(^|/)pipfile", "configs", configs.find_toml),
    (r"\.(ini|cfg|conf)", "configs", configs.find_ini),
    (r"(^|/)(gnu)?makefile[^/]*|\.(mk|mak|cmake|cpp|cc|cxx|c|h|hpp|hxx)|(^|/)cmakelists\.txt", "builds", builds.find),
    (r"\.txt", "prose", builds.find_prose),
)  # fmt: skip
_COMPILED = tuple((re.compile(f"(?:{pattern})$", re.IGNORECASE), rule, find) for pattern, rule, find in _KINDS)
_LOCKED = re.compile(
    r"(?i)(^|/)((uv|poetry|pdm|pixi|pipfile)\.lock|conda-lock\.ya?ml|[^/]*package-lock\.json|pnpm-lock\.yaml)$"
)
_BOUND_WORDS = {*PLAIN, "apex", "cu9", "cu1"}
_OTHER_WORDS = {
    "gpu",
    "torch",
    "nsys",
    "ncu ",
    "fp8",
    "float8",
    "e4m3",
    "e5m2",
    "fp64",
    "float64",
    "double",
    "p16",
    "t16",
}
_LOCK = "a lock file holds CUDA's packages: lock again after the port"


def is_looked_at(path: str) -> bool:
    """Whether a file of this name is searched for CUDA-bound places."""
    return _kind(path) is not None or bool(_LOCKED.search(path))


def _kind(path: str) -> tuple[str, Find] | None:
    return next(((rule, find) for pattern, rule, find in _COMPILED if pattern.search(path)), None)


def port_file(path: str, data: bytes, target: Target) -> Ported:
    """What becomes of a file that is not Python. A file without CUDA words costs one search."""
    kind = _kind(path)
    if not _is_worth_reading(data) or not (kind or _LOCKED.search(path)):
        return Ported(path)
    if kind is None or _LOCKED.search(path):
        return _once(path, target, "requirements", _LOCK)
    rule, find = kind
    if len(data) > (MAX_BYTES if rule in ("notebooks", "prose") else MAX_SETTINGS):
        return _once(path, target, rule, f"too large to be looked at ({len(data):,} bytes): it is left as it is")
    text = read(path, data, target)
    try:
        found = list(islice(find(text), MAX_PLACES + 1))
    except NotReadable as error:
        return _once(path, target, rule, f"{error}; it is left as it is") if BOUND.search(text.text) else Ported(path)
    if len(found) > MAX_PLACES:
        reason = f"more than {MAX_PLACES:,} places with CUDA words: these are data; if they are settings, look yourself"
        return _once(path, target, rule, reason)
    return finish(text, "builds" if rule == "prose" else rule, found)


def _is_worth_reading(data: bytes) -> bool:
    """Whether a word is there that some rule looks for."""
    plain = data.replace(b"\0", b"") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else data
    lower = plain.lower()
    return any(word in lower for word in _words())


@cache
def _words() -> tuple[bytes, ...]:
    words = {name.rstrip("*") for name in known().packages} | _BOUND_WORDS | _OTHER_WORDS
    return tuple(w.encode() for w in sorted(words, key=len) if not any(o in w for o in words if o != w))


def _once(path: str, target: Target, rule: str, reason: str) -> Ported:
    advice = OWN_MAKER if is_cudas_own(target) else needs_you(reason)
    return finish(Text(path, target, "", "utf-8", b""), rule, [Place(0, 0, advice.verdict, advice.reason)])
