"""Functions for a person to write: one for each kernel, with its signature and the places that call it."""

import keyword
import re
from collections.abc import Sequence

from xinqiao.port.additions import FOLDER, PACKAGE, Added, placed
from xinqiao.port.source import Source

# C's words for a parameter → what Python passes; the first that fits.
_TYPES = (
    (re.compile(r"[*\[]|Tensor|PackedAccessor"), "Tensor"),
    (re.compile(r"\bbool\b"), "bool"),
    (re.compile(r"\b(float|double|half|__half|bfloat16|scalar_t|T)\b"), "float"),
    (re.compile(r"int|long|short|size_t|unsigned|char"), "int"),
    (re.compile(r"string|\bstr\b"), "str"),
)
_TEXT = '''"""What `{name}` computes, in PyTorch: yours to write. It was found at {where}."""

from __future__ import annotations

from torch import Tensor


def {name}_reference({parameters}) -> {result}:
    """`{signature}`

    Called at {called}.{pointers}
    """
    raise NotImplementedError("{name}_reference is not written yet; it is called at {called}")
'''


def parameters_of_c(parameters: Sequence[str]) -> list[tuple[str, str]]:
    """(name, Python type) of parameters as C writes them: 'const float* x'."""
    found = []
    for number, written in enumerate(parameters):
        plain = re.sub(r"\s*=.*", "", written)
        names = re.findall(r"[A-Za-z_]\w*", plain)
        name = names[-1] if len(names) > 1 else f"argument{number}"
        kind = next((t for pattern, t in _TYPES if pattern.search(plain)), "object")
        found.append((_safe(name), kind))
    return found


def stub(
    name: str, where: str, parameters: Sequence[tuple[str, str]], *, result: str, signature: str, called: Sequence[str]
) -> str:
    """The text of `<name>_reference.py`."""
    pointers = "" if result != "None" else " Tensors that the kernel writes are written in place."
    return _TEXT.format(
        name=name,
        where=where,
        parameters=", ".join(f"{n}: {t}" for n, t in _apart(parameters)),
        result=result,
        signature=signature.replace('"', "'").replace("\\", ""),
        called=", ".join(called) or "no place that was found",
        pointers=pointers,
    )


def beside(name: str, text: str, source: Source) -> tuple[Added, ...]:
    """The stub, where a Python file finds it."""
    return placed({"__init__.py": PACKAGE, f"{name}_reference.py": text}, source)


def at_the_top(name: str, text: str) -> tuple[Added, ...]:
    """The stub of what is written in another language, in the project's folder."""
    return Added(f"{FOLDER}/__init__.py", PACKAGE), Added(f"{FOLDER}/{name}_reference.py", text)


def _safe(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _apart(parameters: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Parameters with names of their own, as Python wants them."""
    seen: set[str] = set()
    found = []
    for name, kind in parameters:
        while name in seen:
            name += "_"
        seen.add(name)
        found.append((name, kind))
    return found
