"""The collective back end becomes the device's own.

What it does: the string `"nccl"` where it reaches a back end, `Backend.NCCL` and `is_nccl_available()` ask PyTorch
which back end the device has. Keys, flags and messages stay.
Why: each vendor has its own; a program that falls back to gloo is slow, silently.
Unsafe when: a program compares the name with one that it gets from elsewhere, such as a file written by another job.
Source: PyTorch 2.13, torch.distributed.get_default_backend_for_device.

    dist.init_process_group("nccl")
    →  dist.init_process_group(dist.get_default_backend_for_device(ACCELERATOR))
"""

import ast
from collections.abc import Iterator

from xinqiao.port.dialect import ACCELERATOR, backend, device_inside_text, distributed
from xinqiao.port.places import place_of
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Source

_REASON = "each device has its own back end, and PyTorch knows it"
_MIXED = "cpu:gloo,cuda:nccl"
_AVAILABLE = ("torch.distributed.is_nccl_available", "torch.distributed.distributed_c10d.is_nccl_available")
_NAMES = ("torch.distributed.Backend.NCCL", "torch.distributed.distributed_c10d.Backend.NCCL")


@rule(ast.Constant)
def name(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Constant)
    if not isinstance(node.value, str) or node.value.lower() not in ("nccl", _MIXED):
        return
    if isinstance(source.parent(node), ast.JoinedStr):
        return
    place = place_of(node, source)
    if place in ("backend", "device") and "backend" in source.project.used_as(source.path, node):
        edit = replace(source, node, backend(source) if node.value.lower() == "nccl" else _mixed(source))
        yield Finding(node, "rewritten", _REASON, (edit,), (ACCELERATOR, "torch"))
    elif place in ("key", "documentation", "message"):
        yield Finding(node, "safe", "no back end is chosen here")
    elif place == "flag":
        yield Finding(node, "safe", "a command-line flag of your own")
    elif place == "several":
        yield Finding(
            node, "needs-you", "it names a back end, and is also a key or a pattern: decide what each should be"
        )
    else:
        yield Finding(
            node, "needs-you", f"this string may name a back end; if it does, write {backend(source)} instead"
        )


def _mixed(source: Source) -> str:
    inside = backend(source)
    inside = f"{{{inside}}}" if ACCELERATOR in inside else inside.strip('"')
    return f'{"f" if "{" in inside else ""}"cpu:gloo,{device_inside_text(source)}:{inside}"'


@rule(ast.Call, named=True)
def available(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Call)
    if source.resolve(node.func) not in _AVAILABLE:
        return
    text = f"{distributed(source)}.is_backend_available({backend(source)})"
    yield Finding(node, "rewritten", _REASON, (replace(source, node, text),), (ACCELERATOR, "torch"))


@rule(ast.Attribute, named=True)
def constant(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Attribute)
    if "nccl" not in node.attr.lower():
        return
    resolved = source.resolve(node) or ""
    if resolved in _NAMES:
        edit = replace(source, node, backend(source))
        yield Finding(node, "rewritten", _REASON, (edit,), (ACCELERATOR, "torch"))
    elif resolved.startswith("torch.") and not resolved.startswith("torch.cuda.") and resolved not in _AVAILABLE:
        yield Finding(node, "needs-you", f"{resolved} exists for NCCL only: find the vendor's, or guard it")
