"""Functions of `torch.cuda` become those of `torch.accelerator`, or of the device's own module.

What it does: a function that `torch.accelerator` has is taken from there; any other that every vendor's module has is
taken from `torch.get_device_module(ACCELERATOR)`. Aliases are followed: `import torch.cuda as tc`,
`from torch import cuda`, `getattr(torch, "cuda")`.
Why: `torch.cuda` is one vendor's module.
Unsafe when: a program replaces functions of `torch.cuda` by its own at run time.
Source: PyTorch 2.13, torch/accelerator/__init__.py, torch.get_device_module.

    torch.cuda.synchronize()               →    torch.accelerator.synchronize()
    torch.cuda.manual_seed_all(seed)       →    ACCELERATOR_MODULE.manual_seed_all(seed)
"""

import ast
from collections.abc import Iterator

from xinqiao.port.dialect import ACCELERATOR, MODULE, accelerator, module
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Source

_ACCELERATOR_HAS = {
    "is_available": "is_available",
    "device_count": "device_count",
    "current_device": "current_device_index",
    "set_device": "set_device_index",
    "synchronize": "synchronize",
    "empty_cache": "empty_cache",
    "memory_allocated": "memory_allocated",
    "max_memory_allocated": "max_memory_allocated",
    "memory_reserved": "memory_reserved",
    "max_memory_reserved": "max_memory_reserved",
    "memory_stats": "memory_stats",
    "reset_peak_memory_stats": "reset_peak_memory_stats",
    "reset_accumulated_memory_stats": "reset_accumulated_memory_stats",
}
_RENAMED = {
    "max_memory_cached": "max_memory_reserved",
    "memory_cached": "memory_reserved",
    "reset_max_memory_allocated": "reset_peak_memory_stats",
    "reset_max_memory_cached": "reset_peak_memory_stats",
}
EVERY_VENDOR_HAS = {
    "Event", "Stream", "can_device_access_peer", "current_stream", "default_stream",
    "device", "device_of", "get_device_capability", "get_device_name", "get_device_properties",
    "get_rng_state", "get_rng_state_all", "init", "initial_seed", "is_bf16_supported",
    "is_initialized", "manual_seed", "manual_seed_all", "mem_get_info", "memory_summary",
    "seed", "seed_all", "set_rng_state", "set_rng_state_all", "set_stream",
    "stream", "utilization", "set_per_process_memory_fraction",
}  # fmt: skip
_SUBMODULES = ("amp", "memory", "random", "streams")
_NEXT = {
    "CUDAGraph": "graphs differ between vendors: capture with the vendor's own, or run without",
    "graph": "graphs differ between vendors: capture with the vendor's own, or run without",
    "make_graphed_callables": "graphs differ between vendors: run without them",
    "nvtx": "use torch.profiler.record_function",
}


@rule(ast.Attribute, ast.Name, ast.Call)
def use(node: ast.AST, source: Source) -> Iterator[Finding]:
    parent = source.parent(node)
    if (
        isinstance(parent, ast.Attribute)
        and parent.value is node
        and (source.resolve(parent) or "").startswith("torch.cuda")
    ):
        return  # the longer name is looked at
    if isinstance(node, ast.Call) and parent is not None and isinstance(parent, ast.Call) and parent.func is node:
        return
    name = source.resolve(node) if not isinstance(node, ast.Name) or isinstance(node.ctx, ast.Load) else None
    if name is None or not (name == "torch.cuda" or name.startswith("torch.cuda.")):
        return
    if name.startswith("torch.cuda.amp"):
        return  # the rule amp
    yield from _verdict(node, name, source)


def _verdict(node: ast.AST, name: str, source: Source) -> Iterator[Finding]:
    part = name.removeprefix("torch.cuda").removeprefix(".")
    for submodule in _SUBMODULES:
        part = part.removeprefix(f"{submodule}.")
    part = _RENAMED.get(part, part)
    if _is_written_to(node, source):
        yield Finding(node, "needs-you", f"{name} is replaced here; do the same for the device's own module")
    elif part in _ACCELERATOR_HAS:
        edit = replace(source, node, accelerator(_ACCELERATOR_HAS[part], part, source))
        yield Finding(node, "rewritten", "torch.accelerator has it for every device", (edit,), ("torch",))
    elif part in EVERY_VENDOR_HAS or not part:
        edit = replace(source, node, module(part, source))
        reason = "the device's own module has it"
        yield Finding(node, "rewritten", reason, (edit,), (ACCELERATOR, MODULE))
    else:
        step = _NEXT.get(part.split(".")[0], "find out whether the vendor's module has it, or guard it")
        yield Finding(node, "needs-you", f"{name} has no counterpart on every device: {step}")


def _is_written_to(node: ast.AST, source: Source) -> bool:
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        return True
    parent = source.parent(node)
    return isinstance(parent, ast.Attribute) and not isinstance(parent.ctx, ast.Load)
