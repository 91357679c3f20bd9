"""Counts CUDA-bound places in a tree by tokens and regular expressions; it shares no code with `xinqiao.port`.

What counts, in Python:

- `torch.cuda`, `torch.backends.cuda`, `torch.backends.cudnn`, `torch.version.cuda` and whatever is reached through
  them, by any name that an import gives to them, and the imports themselves;
- a call of a method `.cuda(`, an attribute `.is_cuda`, a call's keyword `pin_memory=` or method `.pin_memory(`;
- integers that PyTorch takes for a device: `.to(0)`, `device=0`, `map_location=0`, `torch.device(0)`;
- names that only CUDA's side of PyTorch has: `CUDAExtension`, `is_nccl_available`, `ProfilerActivity.CUDA`, ...;
- imports of packages that are written for CUDA, and of compiled modules with `cuda` in their name;
- strings with a CUDA word (`cuda`, `nccl`, `nvidia-smi`, `CUDA_VISIBLE_DEVICES`, `cu118`, ...) between word boundaries.

What does not: comments, docstrings, strings that begin with '-' (the program's own command-line flags), and every name
that is the program's own: a variable, parameter, attribute, keyword or key such as `use_cuda`, `args.cuda` or
`"no_cuda"`. In notebooks the code cells count. In scripts, settings, requirements and C++ each line with a CUDA word
counts, comments left out; settings of a type checker and texts that are data do not. A CUDA source counts once, and so
does a Python file that does not parse.
"""

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """One counted place. Lines from 1, columns from 1, the end excluded; column 0: the whole line."""

    file: str
    line: int
    column: int
    end_column: int
    what: str


SOURCE = "CUDA source"  # covered by an occurrence anywhere in it
_PACKAGES = {
    "apex", "bitsandbytes", "causal_conv1d", "cudf", "cugraph", "cuml", "cupy", "cupyx", "deepspeed", "flash_attn",
    "flash_attn_interface", "flashinfer", "GPUtil", "nvidia", "nvidia_smi", "nvtx", "py3nvml", "pycuda", "pynvml",
    "tensorrt", "torch_tensorrt", "transformer_engine", "triton", "xformers",
}  # fmt: skip
_NAMES = {
    "CUDAExtension", "CUDA_HOME", "CUDAGraph", "ProcessGroupNCCL", "is_nccl_available", "load_inline", "nvfuser",
    "is_flash_attn_2_available",
}  # fmt: skip
_WORD = re.compile(
    r"(?<![A-Za-z0-9_])(?:(?:cuda|nccl|cudnn|cublas\w*|nvidia(?:[-_]\w+)*|nvcc|nvtx|nvml|pynvml|cupy|triton|apex|xformers"
    r"|flash[-_]attn|flash_attention_[23]|bitsandbytes|deepspeed|tensorrt|transformer_engine|nvfuser)(?![A-Za-z0-9_])"
    r"|(?:self_)?cuda_time(?:_total)?(?![A-Za-z0-9_])|cu(?:9|1[0-3])\d(?![A-Za-z0-9_]))",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"(?<![A-Za-z0-9_])(?:(?:PY)?TORCH_)?(?:CUDA|NCCL|CUBLAS|CUDNN|NVIDIA)_[A-Z][A-Z_]*")
_CODE = {"NAME", "OP", "NUMBER", "STRING", "FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"}  # f-strings: from 3.12 on
_TORCH_PARTS = ("cuda", "cudnn", "is_nccl_available", "nccl")
_OTHER = re.compile(
    r"(?i)(\.(sh|bash|zsh|slurm|ya?ml|json|toml|cfg|ini|env|cpp|cc|h|hpp|mk|cmake)"
    r"|/dockerfile[^/]*|/makefile|(requirements|constraints|/cmakelists)[^/]*\.txt)$"
)
_SKIPPED = re.compile(r"(^|/)mypy\.ini$|(^|/)(\.git|__pycache__|[^/]*\.egg-info)/|(^|/)\.xinqiao")
_TRAILING = re.compile(r"\s(?:#|//)\s")
_COMMENT = re.compile(r"\s*(#(?!include|if|define|el|end|pragma)|//|/\*|\*\s)")


def count(folder: Path) -> list[Place]:
    """Every CUDA-bound place below a folder."""
    found: list[Place] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        name = path.relative_to(folder).as_posix()
        if not _SKIPPED.search(name):
            found += count_file(name, path.read_bytes())
    return found


def count_file(name: str, data: bytes) -> list[Place]:
    """The places of one file; [] for a kind of file that is not counted."""
    if name.endswith(".py"):
        return list(_of_python_file(name, data))
    if name.endswith((".cu", ".cuh")):
        return [Place(name, 1, 0, 0, SOURCE)]
    if name.endswith(".ipynb"):
        return list(_of_notebook(name, data.decode("utf-8", "replace")))
    return list(_of_lines(name, data.decode("utf-8", "replace"))) if _OTHER.search(f"/{name}") else []


def covered(places: list[Place], record: Path) -> tuple[list[Place], list[Place]]:
    """(covered, uncovered) by a port's occurrences, which must overlap a place, not just share its line."""
    spans: dict[str, list[tuple[int, int, int, int]]] = {}
    for o in json.loads(record.read_text())["occurrences"]:
        span = (o["line"], o["column"], o["end_line"], o["end_column"])
        spans.setdefault(o["file"], []).append(span)
    yes: list[Place] = []
    no: list[Place] = []
    for place in places:
        (yes if any(_overlap(place, s) for s in spans.get(place.file, ())) else no).append(place)
    return yes, no


def _overlap(place: Place, span: tuple[int, int, int, int]) -> bool:
    line, column, end_line, end_column = span
    if not place.column:
        return place.what == SOURCE or line <= place.line <= end_line
    return (line, column) < (place.line, place.end_column) and (place.line, place.column) < (
        end_line,
        max(end_column, column + 1),
    )


def _of_python_file(name: str, data: bytes) -> Iterator[Place]:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
        ast.parse(data)
    except (SyntaxError, ValueError, LookupError, RecursionError):
        if _WORD.search(data.decode("latin-1")):
            yield Place(name, 1, 0, 0, "does not parse")
        return
    yield from _of_python(name, text)


def _of_python(name: str, text: str) -> Iterator[Place]:
    lines = list(_logical_lines(text))
    aliases = {"torch": "torch"}  # also where a star import brings it
    for tokens in lines:
        aliases.update(_imported(tokens))
    for tokens in lines:
        if all(t.type == tokenize.STRING for t in tokens):
            continue  # documentation
        for token, what in _of_statement(tokens, aliases):
            first = token.start[0]
            if token.type != tokenize.STRING or token.start[0] == token.end[0]:
                yield Place(name, first, token.start[1] + 1, token.end[1] + 1, what)
            else:
                yield from (Place(name, first + row, 0, 0, what) for row in _rows_with_word(token.string))


def _rows_with_word(string: str) -> list[int]:
    return [i for i, line in enumerate(string.split("\n")) if _has_word(line)]


def _has_word(text: str) -> bool:
    return bool(_WORD.search(text) or _VARIABLE.search(text))


def _logical_lines(text: str) -> Iterator[list[tokenize.TokenInfo]]:
    line: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE:
            if line:
                yield line
            line = []
        elif tokenize.tok_name[token.type] in _CODE:
            line.append(token)


def _imported(tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[str, str]]:
    """(name in the file, dotted name) of what an import statement binds from torch."""
    words = [t.string for t in tokens if t.string not in "()"]
    if words[0] == "import":
        for part in " ".join(words[1:]).replace(" . ", ".").split(" , "):
            dotted, _, alias = part.partition(" as ")
            if dotted.split(".")[0] == "torch":
                yield (alias, dotted) if alias else ("torch", "torch")
    elif words[0] == "from" and words[1] == "torch" and "import" in words:
        at = words.index("import")
        module = "".join(words[1:at])
        for part in " ".join(words[at + 1 :]).split(" , "):
            dotted, _, alias = part.strip(" ,").partition(" as ")
            yield alias or dotted, f"{module}.{dotted}"


def _of_statement(
    tokens: list[tokenize.TokenInfo], aliases: dict[str, str]
) -> Iterator[tuple[tokenize.TokenInfo, str]]:
    if tokens[0].string in ("import", "from"):
        yield from _of_import(tokens)
        return
    for i, token in enumerate(tokens):
        if token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            plain = token.string.lstrip("rRbBfFuU").strip("'\"")
            if _has_word(plain) and not plain.startswith("-"):
                yield token, "string"
        elif token.type == tokenize.NAME and (what := _of_name(tokens, i, aliases)):
            yield token, what


def _of_import(tokens: list[tokenize.TokenInfo]) -> Iterator[tuple[tokenize.TokenInfo, str]]:
    relative = len(tokens) > 1 and tokens[1].string in (".", "...")
    text = "".join(f" {t.string} " if t.string in ("import", "as") else t.string for t in tokens)
    if relative or len(tokens) < 2:
        return
    roots = re.findall(r"[\w.]+", text.removeprefix("from").partition(" import ")[0]) if text.startswith("from") else [
        part.split(" as ")[0].strip() for part in text.removeprefix(" import ").split(",")
    ]  # fmt: skip
    for root in roots:
        package, *rest = root.split(".")
        in_torch = package == "torch" and any(p in _TORCH_PARTS for p in re.findall(r"\w+", text))
        if (
            package in _PACKAGES
            or in_torch
            or root.startswith("numba.cuda")
            or (not rest and "cuda" in package.lower())
        ):
            yield tokens[1], "import"


def _of_name(tokens: list[tokenize.TokenInfo], i: int, aliases: dict[str, str]) -> str:
    """What a name counts as, '' for nothing."""
    name = tokens[i].string
    before, after = _text(tokens, i - 1), _text(tokens, i + 1)
    if name in _NAMES and before not in ("def", "class"):
        return name
    if before == ".":
        return _of_attribute(tokens, i, name, after)
    if name in aliases and after != "=":
        dotted = ".".join((aliases[name], *_attributes(tokens, i)))
        parts = dotted.split(".")[1:]
        return dotted if any(p in _TORCH_PARTS for p in parts) else ""
    called_with = after == "=" and _depth(tokens, i) and tokens[0].string not in ("def", "async", "class")
    if called_with and name == "pin_memory":
        return "pin_memory"
    value, end = _text(tokens, i + 2), _text(tokens, i + 3)
    if called_with and name in ("device", "map_location") and value.isdecimal() and end in (",", ")"):
        return f"{name}={value}"
    return ""


def _of_attribute(tokens: list[tokenize.TokenInfo], i: int, name: str, after: str) -> str:
    if name in ("is_cuda", "is_pinned") and after != "=":
        return f".{name}" if name == "is_cuda" else ""
    if after == "(" and name in ("cuda", "pin_memory"):
        return f".{name}()"
    if name == "CUDA" and _text(tokens, i - 2) == "ProfilerActivity":
        return "ProfilerActivity.CUDA"
    value, end = _text(tokens, i + 2), _text(tokens, i + 3)
    if after == "(" and name in ("to", "device") and value.isdecimal() and end in (",", ")"):
        return f".{name}({value})"
    return ""


def _attributes(tokens: list[tokenize.TokenInfo], i: int) -> Iterator[str]:
    while _text(tokens, i + 1) == "." and i + 2 < len(tokens):
        i += 2
        yield tokens[i].string


def _depth(tokens: list[tokenize.TokenInfo], i: int) -> int:
    return sum((t.string in "([{") - (t.string in ")]}") for t in tokens[:i] if t.type == tokenize.OP)


def _text(tokens: list[tokenize.TokenInfo], i: int) -> str:
    return tokens[i].string if 0 <= i < len(tokens) else ""


def _of_notebook(name: str, text: str) -> Iterator[Place]:
    try:
        cells = json.loads(text).get("cells", [])
    except (ValueError, AttributeError, RecursionError):
        if _has_word(text):
            yield Place(name, 1, 0, 0, "does not parse")
        return
    at = 0
    for cell in cells:
        source = cell.get("source", [])
        rows = source if isinstance(source, list) else [source]
        for row in rows:
            begin = max(text.find(json.dumps(row, ensure_ascii=False), at), text.find(json.dumps(row), at))
            at = max(at, begin)
            for line in row.splitlines() if cell.get("cell_type") == "code" else []:
                if _has_word(line.partition("#")[0]):
                    yield Place(name, text.count("\n", 0, at) + 1, 0, 0, "notebook")


def _of_lines(name: str, text: str) -> Iterator[Place]:
    for number, line in enumerate(text.splitlines(), 1):
        if _has_word(_TRAILING.split(line)[0]) and not _COMMENT.match(line):
            yield Place(name, number, 0, 0, "line")
