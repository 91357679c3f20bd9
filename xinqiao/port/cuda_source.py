"""CUDA and C++ sources: which functions they hold, and which of them Python can call. Read as words, not compiled."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_ENDINGS = {".cu", ".cuh", ".cpp", ".cc", ".cxx", ".h", ".hpp"}
_IGNORED = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"', re.S)
# Each pattern below is linear: no two parts of it can match the same text.
_KERNEL = re.compile(r"__global__\s[^;{}()]{0,120}?\b(\w+)\s*\(")
_LAUNCH_BOUNDS = re.compile(r"__launch_bounds__\s*\([^()]{0,200}\)")
_BOUND = (
    re.compile(r'\b\w+\s*\.\s*def\s*\(\s*"(\w+)"\s*,\s*&?\s*([\w:]+)'),
    re.compile(r'\b\w+\s*\.\s*impl\s*\(\s*"((?:\w+::)?\w+)"\s*,\s*&?\s*([\w:]+)'),
)
_LIBRARY = re.compile(r'\b\w+\s*\.\s*def\s*\(\s*"((?:\w+::)?\w+)\s*(\([^"]{0,1000})')
_FUNCTION = re.compile(
    r"(?<![.:<\w])((?:\w{1,80}::){0,6}\w{1,80}(?:<[\w:, ]{0,200}>)?)[ \t\n&*]{1,20}(\w{1,80})\s{0,20}\("
)
MOST = 4000  # characters of one list of parameters


@dataclass(frozen=True)
class Entry:
    """A function that Python calls ('bound') or that runs on the device ('kernel'). position: offset in the text."""

    name: str
    kind: str
    position: int
    parameters: tuple[str, ...]  # as they are written: 'const float* x'
    result: str  # 'torch::Tensor', or '' where it is not found

    @property
    def signature(self) -> str:
        return f"{self.result or 'void'} {self.name}({', '.join(self.parameters)})"


def is_device_source(path: str) -> bool:
    """Whether a file of this name is C++ or CUDA."""
    return PurePosixPath(path).suffix.lower() in _ENDINGS


def exported(text: str) -> list[Entry]:
    """What PYBIND11_MODULE and TORCH_LIBRARY hand to Python, with the signature where its definition is in the text."""
    code = _blanked(text, keep_strings=True)
    bound = [(m, m[1].rpartition(":")[2], m[2].rpartition(":")[2]) for p in _BOUND for m in p.finditer(code)]
    defined = _definitions(_blanked(text), {function for _, _, function in bound})
    found = {}
    for match, name, function in bound:
        result, parameters = defined.get(function, ("", ()))
        if name not in found or parameters:
            found[name] = Entry(name, "bound", match.start(), parameters, result)
    for match in _LIBRARY.finditer(code):
        name = match[1].rpartition(":")[2]
        if name not in found or not found[name].parameters:
            inside, _, result = match[2][1:].partition("->")
            found[name] = Entry(name, "bound", match.start(), _split(inside.strip().removesuffix(")")), result.strip())
    return list(found.values())


def kernels(text: str) -> list[Entry]:
    """Every `__global__` function."""
    code = _blanked(text)
    code = _LAUNCH_BOUNDS.sub(lambda m: " " * len(m[0]), code)
    return [Entry(m[1], "kernel", m.start(), _split(_inside(code, m.end())), "void") for m in _KERNEL.finditer(code)]


def _blanked(text: str, *, keep_strings: bool = False) -> str:
    """Comments (and strings) as spaces, so that every offset stays."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if keep_strings and match[0].startswith('"') else re.sub(r"[^\n]", " ", match[0])

    return _IGNORED.sub(blank, text)


def _definitions(code: str, wanted: set[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Function → (result, parameters), for those of the wanted names that are defined or declared in the text."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for match in _FUNCTION.finditer(code):
        if match[2] in wanted and match[2] not in found and match[1] not in ("return", "else", "new"):
            found[match[2]] = match[1], _split(_inside(code, match.end()))
    return found


def _inside(code: str, begin: int) -> str:
    """The text up to the parenthesis that closes the one before `begin`; at most MOST characters."""
    depth = 1
    for at in range(begin, min(len(code), begin + MOST)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return code[begin:at]
    return ""


def _split(inside: str) -> tuple[str, ...]:
    """Parameters between commas that are in no bracket of their own."""
    parts, depth, last = [], 0, 0
    for at, c in enumerate(inside):
        depth += (c in "([{<") - (c in ")]}>")
        if c == "," and depth == 0:
            parts.append(inside[last:at])
            last = at + 1
    parts.append(inside[last:])
    return tuple(" ".join(p.split()) for p in parts if p.strip())
