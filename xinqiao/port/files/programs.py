"""Programs that only CUDA has, or that install, schedule or start something for it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from xinqiao.port.files import images, packages
from xinqiao.port.files.advice import OWN_MAKER, Advice, is_cudas_own, needs_you, safe
from xinqiao.port.files.known import known
from xinqiao.port.files.text import Place
from xinqiao.port.files.tokens import Command, Word
from xinqiao.port.source import Edit
from xinqiao.port.target import Target
from xinqiao.port.words import is_bound

WRAPPERS = {"sudo", "env", "nohup", "exec", "time", "command", "builtin", "xvfb-run", "numactl", "taskset", "watch"}
_QUESTIONS = ("which", "type", "hash", "whereis")
_TOOLS = {
    **dict.fromkeys(("nsys", "ncu", "nvprof", "dcgmi"), "NVIDIA's profiler: take torch.profiler, or the vendor's"),
    **dict.fromkeys(("nvcc",), "CUDA's compiler: the kernels need a version for the chip, or one in PyTorch"),
    **dict.fromkeys(("cuda-gdb", "cuda-memcheck", "compute-sanitizer"), "CUDA's debugger: take the vendor's"),
}
_INDEX_OPTIONS = ("-i", "-f", "--index-url", "--extra-index-url", "--find-links", "--index", "--default-index")
_READERS = {"echo", "printf", "log", "info", "warn", "error", "die", "usage"}
_SYSTEM = {"apt", "apt-get", "yum", "dnf", "apk", "aptitude", "zypper"}
_GPUS = re.compile(r"--?(gres|gpus?|gpus-per-\w+|G)$")
_CONTAINERS = {"docker", "podman", "nerdctl", "singularity", "apptainer"}


@dataclass(frozen=True)
class Around:
    """The words before a program, and the commands before and after its own."""

    words: list[Word]
    before: Command
    after: Command


SCHEDULER = "the scheduler has a name of its own for this chip: ask who runs the cluster"
_CONTAINER = "the container's runtime has an option of its own for this chip: see the vendor's container guide"


def program_places(name: str, words: list[Word], around: Around, target: Target) -> Iterator[Place]:
    """What a program and its arguments need; `words` begin with the program."""
    if not words:
        return
    if name == known().monitor:
        yield _monitor(words, around, target)
    elif name in _QUESTIONS or (around.words and around.words[-1].value == "command"):
        yield from _question(words)
    elif name in _TOOLS and name != "":
        yield _at(words[0], OWN_MAKER if is_cudas_own(target) else needs_you(_TOOLS[name]))
    for programs, find in _FINDERS:
        if name in programs:
            yield from find(words, target)


def _at(word: Word, advice: Advice, text: str | None = None) -> Place:
    edits = (Edit(word.start, word.end, text),) if text is not None and advice.verdict == "rewritten" else ()
    return Place(word.start, word.end, advice.verdict, advice.reason, edits)


def _monitor(words: list[Word], around: Around, target: Target) -> Place:
    before = around.words
    vendors = target.chip.platform.monitor
    if is_cudas_own(target):
        return _at(words[0], OWN_MAKER)
    if not vendors or target.audit:
        step = f"this chip's is {vendors}" if vendors else "take the vendor's on this chip"
        return _at(words[0], needs_you(f"NVIDIA's own tool: {step}"))
    if [w.text for w in around.after.words[:2]] == ["else", vendors.split()[0]]:
        return _at(words[0], safe("the other branch runs this chip's"))
    if words[0].value in [w.value for w in around.before.words] and {*_QUESTIONS, "command"} & {
        w.value for w in around.before.words
    }:
        return _at(words[0], safe("it runs only where the tool is there"))
    if any(w.value == "command" for w in before):
        return _at(words[0], safe("it only asks whether the tool is there"))
    if len([w for w in words if not w.target]) > 1 or any("=" in w.text or w.text in WRAPPERS for w in before):
        step = f"this chip's is {vendors}, with other options; torch.accelerator.device_count() counts devices"
        return _at(words[0], needs_you(f"NVIDIA's own tool: {step}"))
    if target.style == "vendor":
        return _at(words[0], Advice("rewritten", "this chip's own tool"), vendors)
    tool = words[0].text
    text = f"if command -v {tool} >/dev/null; then {tool}; else {vendors}; fi"
    return _at(words[0], Advice("rewritten", "this chip's own tool runs where NVIDIA's is not there"), text)


def _question(words: list[Word]) -> Iterator[Place]:
    for word in words:
        if is_bound(word.text):
            yield _at(word, safe("it only asks whether the tool is there"))


def _installs(words: list[Word], target: Target) -> Iterator[Place]:
    values = [w.value for w in words]
    if not {"install", "add", "create", "sync"} & set(values[:6]):
        return
    for word, option in zip(words[1:], values, strict=False):
        name, _, url = word.value.partition("=")
        inside = word.text.strip("'\"")
        offset = word.start + word.text.find(inside)
        if option in _INDEX_OPTIONS or (name in _INDEX_OPTIONS and url):
            advice = packages.index_advice(inside, target)
        elif option in ("-c", "--channel"):
            advice = _channel(inside, target)
        elif word.text.startswith("-"):
            continue
        else:
            advice = packages.advice(inside, target, " ".join(values))
        if advice is not None:
            edits = (Edit(offset, offset + len(inside), advice.text),) if advice.verdict == "rewritten" else ()
            yield Place(word.start, word.end, advice.verdict, advice.reason, edits)


def _channel(name: str, target: Target) -> Advice | None:
    if not is_bound(name):
        return None
    return OWN_MAKER if is_cudas_own(target) else needs_you("a channel of CUDA's packages: leave it out on this chip")


def _system_packages(words: list[Word], target: Target) -> Iterator[Place]:
    for word in words[1:]:
        advice = packages.advice(word.value, target) if not word.text.startswith("-") else None
        if advice is not None:
            yield _at(word, advice)


def _modules(words: list[Word], target: Target) -> Iterator[Place]:
    for word in words[1:]:
        if is_bound(word.text):
            step = "CUDA's toolkit is loaded here: load the vendor's on this chip"
            yield _at(word, OWN_MAKER if is_cudas_own(target) else needs_you(step))


def _containers(words: list[Word], target: Target) -> Iterator[Place]:
    for word in words[1:]:
        key, _, value = word.text.partition("=")
        if key in ("--gpus", "--nv", "--nvccli") or (key in ("--runtime", "--device") and is_bound(value)):
            yield _at(word, OWN_MAKER if is_cudas_own(target) else needs_you(_CONTAINER))
        elif not word.text.startswith("-") and "=" not in word.text and "/" in word.text:
            inside = word.text.strip("'\"")
            if images.is_for_cuda(inside) and (advice := images.advice(inside, target)):
                yield _at(word, advice, advice.text)


def _scheduled(words: list[Word], target: Target) -> Iterator[Place]:
    for word in words[1:]:
        key = word.text.partition("=")[0]
        if _GPUS.match(key) and ("gpu" in word.text or key == "-G"):
            yield _at(word, OWN_MAKER if is_cudas_own(target) else needs_you(SCHEDULER))


def tells_people(words: list[Word]) -> bool:
    """Whether a command writes a message, and not into a file."""
    return words[0].value in _READERS and all(not w.target or w.text.startswith("/dev/") for w in words)


def _messages(words: list[Word], target: Target) -> Iterator[Place]:
    if not tells_people(words):
        return
    for word in words[1:]:
        if is_bound(word.text) and (word.text[0] == "'" or not re.search(r"[$`]", word.text)):
            yield _at(word, safe("a message for people"))


def _deepspeed(words: list[Word], target: Target) -> Iterator[Place]:
    advice = packages.advice("deepspeed", target)
    if advice is not None:
        yield _at(words[0], advice)


_FINDERS: tuple[tuple[set[str], Callable[[list[Word], Target], Iterator[Place]]], ...] = (
    ({"pip", "pip3", "python", "python3", "uv", "conda", "mamba", "micromamba", "poetry", "pdm"}, _installs),
    (_SYSTEM, _system_packages),
    ({"module", "ml"}, _modules),
    (_CONTAINERS, _containers),
    ({"srun", "sbatch", "salloc", "sinteractive"}, _scheduled),
    (_READERS, _messages),
    ({"deepspeed"}, _deepspeed),
)
