"""What no rule has claimed: every other place with a CUDA word gets a verdict too.

What it does: strings that hold a CUDA word, and calls that compile CUDA sources, are safe where they are plainly
messages, keys or flags of your own, and need you elsewhere.
Why: a place that nobody mentions is found only when the program stops.
Unsafe when: never seen: nothing is rewritten.
Source: PyTorch 2.13, torch/utils/cpp_extension.py; CUDA programming guide, environment variables.
"""

import ast
from collections.abc import Iterator

from xinqiao.port.places import place_of
from xinqiao.port.ranges import Ranges
from xinqiao.port.rule import Finding
from xinqiao.port.source import Source
from xinqiao.port.words import is_bound, is_text
from xinqiao.record.schema import Verdict


def leftovers(source: Source, claimed: Ranges) -> Iterator[Finding]:
    """Strings and calls with a CUDA word that lie in none of the ranges `claimed`.

    The user's own names are no occurrences: a variable `use_cuda` runs on every device.
    """
    for node in source.nodes(ast.Constant):
        if isinstance(node.value, str) and is_bound(node.value) and not _claimed(node, source, claimed):
            yield from _string(node, source)
    for call in source.nodes(ast.Call):
        if _is_extension(call) and not _claimed(call, source, claimed):
            reason = "CUDA sources are compiled here: the kernels need a version for the chip, or one in PyTorch"
            yield Finding(call, "needs-you", reason)


def _claimed(node: ast.AST, source: Source, claimed: Ranges) -> bool:
    start = source.start(node)
    return claimed.cover(start, start + 1)


def _is_extension(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("CUDAExtension", "load_inline")


def _string(node: ast.Constant, source: Source) -> Iterator[Finding]:
    parent = source.parent(node)
    holder: ast.AST = parent if isinstance(parent, ast.JoinedStr) else node
    place = place_of(holder, source)
    if place == "documentation":
        return  # docstrings and strings that stand alone are comments
    if (own := _of_library(str(node.value), source)) is not None:
        yield Finding(holder, *own)
    elif place == "flag" or str(node.value).startswith("--"):
        yield Finding(holder, "safe", "a command-line flag of your own: scripts that start this program use it")
    elif place in ("message", "key") and not str(node.value).startswith("CUDA_"):
        yield Finding(holder, "safe", "a message for people" if place == "message" else "a key of your own")
    elif "CUDA_VISIBLE_DEVICES" in str(node.value):
        yield Finding(holder, "needs-you", "each vendor has its own variable for visible devices: set that one too")
    elif str(node.value).startswith(("CUDA_", "NCCL_", "TORCH_CUDA", "TORCH_NCCL", "PYTORCH_CUDA")):
        yield Finding(
            holder, "needs-you", "only CUDA reads this variable: find the vendor's, or leave it where harmless"
        )
    elif "://" in str(node.value) or str(node.value).startswith("nvidia/") or _is_own_name(node, source):
        yield Finding(holder, "safe", "a name of your own, or an address")
    elif "nvidia" in str(node.value).lower():
        yield Finding(holder, "needs-you", "NVIDIA's own tool or library: guard it, or ask torch.accelerator")
    elif is_text(str(node.value)) and "torch.cuda" not in str(node.value):
        yield Finding(holder, "safe", "a message for people")
    else:
        yield Finding(holder, "needs-you", "a string with a CUDA word: decide whether another device needs another one")


def _of_library(value: str, source: Source) -> tuple[Verdict, str] | None:
    """What other libraries mean by a word of theirs."""
    if value.lower() == "nvfuser":
        return "safe", "PyTorch has no nvFuser any more: it warns and changes nothing"
    if value in ("CUDAExecutionProvider", "TensorrtExecutionProvider"):
        own = source.target.chip.platform.modules.get("CUDAExecutionProvider", "")
        step = f"{source.target.chip.title} has {own}" if own else "ask the vendor for its own, or take the CPU's"
        return "needs-you", f"ONNX Runtime computes on CUDA with it: {step}"
    return None


def _is_own_name(node: ast.Constant, source: Source) -> bool:
    """Whether it is an entry of __all__, or a name that this file defines or imports."""
    assignment = source.parent(source.parent(node) or node)
    if isinstance(assignment, ast.Assign | ast.AugAssign):
        targets = assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            return True
    name = str(node.value).rpartition(".")[2]
    defined = source.nodes(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return name.isidentifier() and any(getattr(d, "name", "") == name for d in defined)
