"""Files that are not Python: every CUDA-bound line is found and left to you.

What it does: finds CUDA words in shell scripts, settings, requirements, container files, notebooks and C++ sources.
Why: a launch script that sets CUDA_VISIBLE_DEVICES chooses nothing on another vendor's devices.
Unsafe when: never seen: nothing is rewritten.
Source: the vendors' installation guides; what they call it is in `xinqiao/chips/platforms/`.
"""

import re
from pathlib import PurePath

from xinqiao.port.words import is_bound
from xinqiao.record.schema import Occurrence

_LOOKED_AT = re.compile(
    r"(?i)(\.(sh|bash|zsh|slurm|ya?ml|json|toml|cfg|ini|env|txt|ipynb|cu|cuh|cpp|cc|h|hpp|mk|cmake)|dockerfile[^/]*|makefile)$"
)
_KERNELS = (".cu", ".cuh")
_COMMENT = re.compile(r"\s*(#|//)")
RULE = "other-files"


def is_looked_at(path: str) -> bool:
    """Whether a file of this name is searched for CUDA-bound lines."""
    return bool(_LOOKED_AT.search(path))


def occurrences(path: str, text: str) -> list[Occurrence]:
    """One for a CUDA source, one for each CUDA-bound line of any other file; comments are left out."""
    if PurePath(path).suffix in _KERNELS:
        return [_at(path, 1, 1, "", "a CUDA kernel: it needs a version for the chip, or one in PyTorch")]
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if is_bound(line) and not _COMMENT.match(line):
            column = len(line) - len(line.lstrip()) + 1
            found.append(_at(path, number, column, line.strip()[:200], _reason(line)))
    return found


def _at(path: str, line: int, column: int, before: str, reason: str) -> Occurrence:
    return Occurrence(
        file=path,
        line=line,
        column=column,
        end_line=line,
        end_column=column + len(before),
        rule=RULE,
        verdict="needs-you",
        before=before,
        after="",
        reason=reason,
    )


def _reason(line: str) -> str:
    if "CUDA_VISIBLE_DEVICES" in line:
        return "each vendor has its own variable for visible devices: set that one too"
    if "nvidia" in line.lower():
        return "NVIDIA's own package, image or tool: take the vendor's"
    return "a CUDA word outside Python: decide whether another device needs another one"
