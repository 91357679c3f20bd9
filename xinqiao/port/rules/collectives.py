"""The collective back end becomes the device's own.

What it does: the string `"nccl"` and `is_nccl_available()` ask PyTorch which back end the device has.
Why: each vendor has its own; a program that falls back to gloo is slow, silently.

    dist.init_process_group("nccl")
    →  dist.init_process_group(dist.get_default_backend_for_device(ACCELERATOR))
"""

import ast
from collections.abc import Iterator

from xinqiao.port.dialect import ACCELERATOR, backend, distributed
from xinqiao.port.places import place_of
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Source

_REASON = "each device has its own back end, and PyTorch knows it"


@rule(ast.Constant)
def name(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Constant)
    if node.value != "nccl" or isinstance(source.parent(node), ast.JoinedStr):
        return
    place = place_of(node, source)
    if place in ("key", "documentation", "message"):
        yield Finding(node, "safe", "no back end is chosen here")
    elif place == "flag":
        yield Finding(node, "safe", "a command-line flag of your own")
    else:
        edit = replace(source, node, backend(source))
        yield Finding(node, "rewritten", _REASON, (edit,), (ACCELERATOR, "torch"))


@rule(ast.Call)
def available(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Call)
    resolved = source.resolve(node.func) or ""
    if resolved not in ("torch.distributed.is_nccl_available", "torch.distributed.distributed_c10d.is_nccl_available"):
        return
    text = f"{distributed(source)}.is_backend_available({backend(source)})"
    yield Finding(node, "rewritten", _REASON, (replace(source, node, text),), (ACCELERATOR, "torch"))
