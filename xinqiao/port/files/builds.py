"""CUDA in makefiles, CMake and C++ needs you.

What it does: every line with a CUDA word that is not a comment is found and left as it is; a CUDA source is one place.
Why: a build of CUDA kernels has no counterpart that a rewrite of lines could reach.
Unsafe when: never seen; nothing is rewritten.
Source: none.

    nvcc -o kernels.o kernels.cu           →    needs-you
"""

import re
from bisect import bisect_right
from collections.abc import Iterator

from xinqiao.port.files.advice import ASK, OWN_MAKER, SAME_DEVICE, is_cudas_own, needs_you
from xinqiao.port.files.text import Place, Text
from xinqiao.port.words import is_bound

_COMMENT = re.compile(r"\s*(#(?!\s*(include|if|ifdef|ifndef|define|elif|pragma)\b)|//|\*)")
_BLOCK = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_C = (".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".hxx")
_KERNEL = "a CUDA kernel: it needs a version for the chip, or one in PyTorch"


def find(text: Text) -> Iterator[Place]:
    comments = [m.span() for m in _BLOCK.finditer(text.text)] if text.path.endswith(_C) else []
    ends = [end for _, end in comments]
    for begin, line in text.lines():
        after = bisect_right(ends, begin)
        if after < len(comments) and comments[after][0] <= begin + len(line) - len(line.lstrip()):
            line = " " * (comments[after][1] - begin) + line[comments[after][1] - begin :]
        if not is_bound(line) or _COMMENT.match(line):
            continue
        if is_cudas_own(text.target):
            advice = OWN_MAKER
        elif "nvidia" in line.lower():
            advice = needs_you("NVIDIA's own package, image or tool: take the vendor's on this chip")
        else:
            advice = SAME_DEVICE if text.target.audit else needs_you(ASK)
        start = begin + len(line) - len(line.lstrip())
        yield Place(start, begin + len(line.rstrip()), advice.verdict, advice.reason)


def find_kernel(text: Text) -> Iterator[Place]:
    """One place for a whole file of CUDA C++."""
    advice = OWN_MAKER if is_cudas_own(text.target) else needs_you(_KERNEL)
    yield Place(0, 0, advice.verdict, advice.reason)


def find_prose(text: Text) -> Iterator[Place]:
    """One place for a text that nothing runs."""
    begin, line = next(((b, t) for b, t in text.lines() if is_bound(t)), (0, ""))
    if line:
        yield Place(begin, begin + len(line), "safe", "a text or a list of words: nothing in it runs")
