"""CUDA-bound places in shell commands, wherever they stand: scripts, images, workflows, notebooks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from xinqiao.port.files import settings, variables
from xinqiao.port.files.advice import ASK, OWN_MAKER, SAME_DEVICE, Advice, is_cudas_own, needs_you, safe
from xinqiao.port.files.programs import WRAPPERS, Around, program_places, tells_people
from xinqiao.port.files.text import NotReadable, Place
from xinqiao.port.files.tokens import Command, Word, scan
from xinqiao.port.source import Edit
from xinqiao.port.target import Target
from xinqiao.port.words import BOUND, is_bound

_RESERVED = {"if", "then", "else", "elif", "do", "while", "until", "!", "{", "time", "&&"}
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=")
_DECLARES = {"export", "declare", "local", "readonly", "typeset", "unset", "env", "setenv"}
_SHELLS = {"bash", "sh", "zsh", "ssh", "eval", "su", "pdsh", "-c", "-lc"}
_PIECE = re.compile(r"\"(?:\\.|[^\"\\])*\"|'[^']*'|\\.", re.DOTALL)
_READ = re.compile(r"\$(?:(\w+)|\{(\w+)(:?-)?(\$\{\w+:-[^{}]*\}|[^{}]*)\})")
_DEFAULT = re.compile(r"\$\{\w+:?-([^{}$]*)\}")
_KEY = re.compile(r"(--?|\+\+?|~)?[A-Za-z][\w.-]*")
_FILE = re.compile(r"\.(py|sh|bash|txt|log|json|ya?ml|toml|cfg|md|out|err|csv|pt|pth|ipynb)$")
_LONGEST = 200  # characters around a word that an occurrence quotes
_NVIDIAS = "NVIDIA's own package, image or tool: take the vendor's on this chip"
_TOKEN = re.compile(r"[\w./:@%+=,-]*")


@dataclass(frozen=True)
class Site:
    """Where commands stand.

    line       how the next line begins, where a variable has a line of its own; None: it follows on the same line
    names      variables that other lines set
    forbidden  characters that an edit must not bring in, because of the quotes around
    """

    text: str
    target: Target
    line: str | None = None
    names: frozenset[str] = frozenset()
    forbidden: str = ""


def places(site: Site, start: int = 0, end: int | None = None) -> Iterator[Place]:
    """What is CUDA-bound in the commands of `site.text[start:end]`; NotReadable where they cannot be read."""
    script = scan(site.text, start, end)
    assigned = {m[1] for c in script.commands for w in c.words if (m := _ASSIGNMENT.match(w.text))}
    around = zip([Command(), *script.commands], [*script.commands[1:], Command()], strict=False)
    for command, near in zip(script.commands, around, strict=False):
        yield from _embedded(command, site)
        yield from (_fitting(p, site) for p in _command(command, near, assigned, site))
    for begin, stop in script.documents:
        yield from _lines(begin, stop, site)
    own = frozenset(c.words[-1].text for c in script.commands if c.after == "(" or c.words[0].text == "function")
    for command in script.commands:
        yield from _leftovers(command, own, site)


def _fitting(place: Place, site: Site) -> Place:
    if not any(c in e.text for e in place.edits for c in site.forbidden):
        return place
    written = "; ".join(e.text.strip() for e in place.edits)
    return Place(place.start, place.end, "needs-you", f"{place.reason}: write {written} here, quoted as is fit")


def _command(command: Command, around: tuple[Command, Command], assigned: set[str], site: Site) -> Iterator[Place]:
    words, after = command.words, around[1]
    at = 0
    while at < len(words) and (words[at].text in _RESERVED or _ASSIGNMENT.match(words[at].text)):
        at += 1
    while at < len(words) - 1 and words[at].value.rpartition("/")[2] in WRAPPERS:
        at += 1
        while at < len(words) - 1 and (words[at].text.startswith("-") or _ASSIGNMENT.match(words[at].text)):
            at += 1
    name = words[at].value.rpartition("/")[2] if at < len(words) else ""
    declares = any(w.value in _DECLARES for w in words[: at + 1])
    near = (*words, *after.words)
    beside = {m[1] for w in near if (m := _ASSIGNMENT.match(w.text))} | {w.text for w in words} | site.names
    for i, word in enumerate(words):
        found = _ASSIGNMENT.match(word.text)
        if found and (i < at or declares):
            yield from _assignment(word, found, command, beside, site)
        elif declares and variables.is_cudas(word.text):
            yield from _bare(word, beside, site)
    yield from program_places(name, words[at:], Around(words[:at], *around), site.target)
    yield from _options(words[at + 1 :], site)
    for word in words:
        yield from _reads(word, assigned, site)


def _assignment(word: Word, found: re.Match[str], command: Command, beside: set[str], site: Site) -> Iterator[Place]:
    name, begin = found[1], word.start + found.end()
    if not variables.is_cudas(name):
        if variables.is_path(name) and is_bound(word.text):
            yield _place(word, variables.ON_A_PATH)
        else:
            yield from _setting((name,), begin, (word.start, word.end), site)
        return
    advice = variables.advice(name, site.target)
    if advice.verdict != "rewritten":
        yield _place(word, advice)
    elif site.target.style == "vendor":
        edit = Edit(word.start, word.start + len(name), advice.text)
        yield Place(word.start, word.start + len(name), advice.verdict, advice.reason, (edit,))
    elif advice.text in beside:
        yield Place(word.start, word.end, "safe", f"{advice.text} is set beside it")
    else:
        yield _beside(word, begin, name, command, (advice, site))


def _beside(word: Word, begin: int, name: str, command: Command, advised: tuple[Advice, Site]) -> Place:
    """Set the vendor's variable to the same value, after CUDA's."""
    advice, site = advised
    reads = [e for p in _reads(replace(word, start=begin, text=site.text[begin : word.end]), set(), site)
             for e in p.edits]  # fmt: skip
    value = _applied(site.text, begin, word.end, reads)
    if site.line is not None:
        added = f"{site.line}{advice.text}={value}"
    elif "$(" not in value and "`" not in value:
        added = f" {advice.text}={value}"
    elif len(command.words) <= 2 and command.before in ("", "\n", ";") and command.after in ("", "\n", ";"):
        export = "export " if command.words[0].text == "export" else ""
        added = f'; {export}{advice.text}="${name}"'
    else:
        return _place(word, needs_you(f"set {advice.text} to the same value: this chip's software reads that"))
    return Place(word.start, word.end, "rewritten", advice.reason, (*reads, Edit(word.end, word.end, added)))


def _applied(text: str, start: int, end: int, edits: list[Edit]) -> str:
    out, at = [], start
    for edit in sorted(edits):
        out += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*out, text[at:end]])


def _bare(word: Word, beside: set[str], site: Site) -> Iterator[Place]:
    """`export NAME` or `unset NAME`."""
    advice = variables.advice(word.text, site.target)
    if advice.verdict != "rewritten":
        yield _place(word, advice)
    elif site.target.style == "vendor":
        yield _place(word, advice, Edit(word.start, word.end, advice.text))
    elif advice.text in beside:
        yield Place(word.start, word.end, "safe", f"{advice.text} stands beside it")
    else:
        yield _place(word, advice, Edit(word.end, word.end, f" {advice.text}"))


def _place(word: Word, advice: Advice, *edits: Edit) -> Place:
    return Place(word.start, word.end, advice.verdict, advice.reason, edits)


def _setting(keys: tuple[str, ...], begin: int, span: tuple[int, int], site: Site) -> Iterator[Place]:
    """A key and its value, which reaches from `begin` to the end of `span`."""
    written = site.text[begin : span[1]]
    value = written.strip("'\"")
    if default := _DEFAULT.fullmatch(value):
        value = default[1]
    elif "$" in value:
        value = ""
    advice = settings.advice(keys, value, site.target)
    if advice is not None:
        start = begin + written.rfind(value)
        edits = (Edit(start, start + len(value), advice.text),) if advice.verdict == "rewritten" else ()
        yield Place(*span, advice.verdict, advice.reason, edits)


def _options(words: list[Word], site: Site) -> Iterator[Place]:
    """`--key value`, `--key=value` and `key=value`."""
    for word, after in zip(words, [*words[1:], None], strict=False):
        key, equals, _ = word.text.partition("=")
        if word.target or not _KEY.fullmatch(key) or not (equals or key.startswith("-")):
            continue
        keys = tuple(re.sub(r"^\W+", "", key).split("."))
        if equals:
            yield from _setting(keys, word.start + len(key) + 1, (word.start, word.end), site)
        elif after is not None and not after.text.startswith("-") and not after.target:
            yield from _setting(keys, after.start, (word.start, after.end), site)
        else:
            yield from _setting(keys, word.end, (word.start, word.end), site)


def _reads(word: Word, assigned: set[str], site: Site) -> Iterator[Place]:
    """`$NAME` and `${NAME:-default}` of CUDA's variables, outside single quotes."""
    quoted = [m.span() for m in _PIECE.finditer(word.text) if m[0][0] in "'\\"]
    for found in _READ.finditer(word.text):
        name = found[1] or found[2]
        if not variables.is_cudas(name) or any(a <= found.start() < b for a, b in quoted):
            continue
        start, end = word.start + found.start(), word.start + found.end()
        advice = variables.read_advice(name, site.target)
        if advice.verdict != "rewritten":
            yield Place(start, end, advice.verdict, advice.reason)
        elif site.target.style == "vendor":
            at = word.start + found.start(1 if found[1] else 2)
            yield Place(start, end, "rewritten", "this chip's variable", (Edit(at, at + len(name), advice.text),))
        elif name in assigned:
            yield Place(start, end, "safe", "it is set in this script")
        elif advice.text in site.text[start : end + len(advice.text) + 3]:
            yield Place(start, end, "safe", f"{advice.text} is read where it is not set")
        elif found[4] and not found[3]:
            yield Place(start, end, "needs-you", f"on this chip {advice.text} holds the devices: read that, too")
        else:
            other = f"${{{advice.text}:-{found[4]}}}" if found[4] else f"${advice.text}"
            text = f"${{{name}{found[3] or ':-'}{other}}}"
            yield Place(start, end, "rewritten", advice.reason, (Edit(start, end, text),))


def _leftovers(command: Command, own: frozenset[str], site: Site) -> Iterator[Place]:
    """Every CUDA word of a command; those in which something was found are left out later."""
    said = safe("a message for people") if tells_people(command.words) else None
    for word in command.words:
        if not is_bound(word.text):
            continue
        for match in BOUND.finditer(word.text):
            at = word.start + match.start()
            begin = at - len(_token(site.text[max(word.start, at - _LONGEST) : at][::-1]))
            end = at + len(_token(site.text[at : min(word.end, at + _LONGEST)]))
            advice = said or _last(begin, end, word, own, site)
            yield Place(begin, end, advice.verdict, advice.reason)


def _token(text: str) -> str:
    found = _TOKEN.match(text)
    return found[0] if found else ""


def _last(begin: int, end: int, word: Word, own: frozenset[str], site: Site) -> Advice:
    text = site.text[begin:end]
    if word.target or _FILE.search(text):
        return safe("a file's name")
    if text in own or (site.text[max(begin - 2, 0) : begin].endswith(("$", "${")) and not variables.is_cudas(text)):
        return safe("a name of your own")
    if "nvidia" in text.lower():
        return OWN_MAKER if is_cudas_own(site.target) else needs_you(_NVIDIAS)
    return settings.unsure(text, site.target)


def _lines(begin: int, end: int, site: Site) -> Iterator[Place]:
    """The CUDA-bound lines of a here-document."""
    at = begin
    for line in site.text[begin:end].splitlines(keepends=True):
        if is_bound(line):
            advice = SAME_DEVICE if site.target.audit else needs_you(f"in a here-document: {ASK}")
            start = at + len(line) - len(line.lstrip())
            yield Place(start, at + len(line.rstrip()), advice.verdict, advice.reason)
        at += len(line)


def _embedded(command: Command, site: Site) -> Iterator[Place]:
    """Commands in quotes, which another shell will run: `bash -c "..."`, `ssh host '...'`."""
    if site.forbidden or not any(w.value.rpartition("/")[2] in _SHELLS for w in command.words):
        return
    for word in command.words:
        quote, inner = word.text[0], word.text[1:-1]
        if quote in "'\"" and word.text.endswith(quote) and not re.search(r"[\\" + quote + "]", inner):
            try:
                yield from places(replace(site, forbidden=quote), word.start + 1, word.end - 1)
            except NotReadable:
                continue  # prose, or another language: its words get a verdict as they stand
