"""An integer in the place of a device stays.

What it does: `.to(0)`, `device=0`, `torch.device(rank)` and `device_ids=[rank]` are found and left.
Why: PyTorch takes an integer for an index of the accelerator that is there: since 2.5 of any, since 2.1 of a vendor's
that registers itself as PrivateUse1. Before, it was CUDA's.
Unsafe when: the vendor's PyTorch is older than 2.1.
Source: https://github.com/pytorch/pytorch/pull/129119; torch 2.13 torch/csrc/utils/python_arg_parser.h.
"""

import ast
import re
from collections.abc import Iterator

from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Source

_INDEX = re.compile(r"(?i)(^|_)(rank|gpu|gpu_id|device_id|device_index|ordinal)$")
_REASON = "an integer is an index of the accelerator that is there (PyTorch 2.5 and later)"
_FUNCTIONS = ("torch.device", "torch.Generator")


@rule(ast.Call)
def argument(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Call)
    name = source.resolve(node.func)
    is_to = isinstance(node.func, ast.Attribute) and node.func.attr in ("to", "to_empty") and name is None
    values = node.args[:1] if is_to or name in _FUNCTIONS else []
    values += [k.value for k in node.keywords if k.arg == "device"]
    for value in values:
        if _is_index(value):
            whole = is_to and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
            yield Finding(node if whole else value, "safe", _REASON)


@rule(ast.keyword)
def lists(node: ast.AST, source: Source) -> Iterator[Finding]:
    """The indices that DistributedDataParallel and DataParallel take."""
    assert isinstance(node, ast.keyword)
    if node.arg in ("device_ids", "output_device") and not isinstance(node.value, ast.Constant):
        call = source.parent(node)
        name = source.resolve(call.func) or "" if isinstance(call, ast.Call) else ""
        if name.endswith(("DistributedDataParallel", "DataParallel")):
            yield Finding(node, "safe", _REASON)


def _is_index(value: ast.AST) -> bool:
    if isinstance(value, ast.Constant):
        return isinstance(value.value, int) and not isinstance(value.value, bool)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "int":
        return True
    word = value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")
    return bool(_INDEX.search(word))
