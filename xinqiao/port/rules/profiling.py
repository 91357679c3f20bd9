"""Profiling: `ProfilerActivity.CUDA`, names of CUDA's times, NVTX ranges, `cudaProfilerStart`.

What it does: the list of CPU and CUDA activities becomes `supported_activities()`, a single CUDA activity that of the
accelerator; `cuda_time_total` and its kin become `device_time_total`; NVTX ranges and cudaProfilerStart stay on CUDA,
and a range becomes `record_function` elsewhere.
Why: PyTorch's profiler records the accelerator only where it is asked by its name, and NVTX is NVIDIA's.
Unsafe when: a vendor's PyTorch records device events in a profiler of its own only; the reason names it.
Source: torch 2.13 torch/profiler/profiler.py, torch/autograd/profiler_util.py (sort_by reads 'device' for 'cuda') and
torch/cuda/nvtx.py.

    activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]
    →  activities=torch.profiler.supported_activities()
"""

import ast
from collections.abc import Iterator

from xinqiao.port.cuda_names import OTHER_RULES
from xinqiao.port.cuda_uses import ask, call_of, is_guarded, part_of
from xinqiao.port.dialect import ACCELERATOR, torch_name, vendors_own
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Edit, Source

_ACTIVITY = "torch.profiler.ProfilerActivity"
_TIMES = {
    name: name.replace("cuda", "device")
    for name in ("cuda_time", "cuda_time_str", "cuda_time_total", "cuda_time_total_str", "self_cuda_time_total",
                 "self_cuda_time_total_str", "cuda_memory_usage", "self_cuda_memory_usage")
}  # fmt: skip
_QUIET = {"nvtx.range_push", "nvtx.range_pop", "nvtx.mark", "profiler.start", "profiler.stop"}
_STEP = "use torch.profiler, or guard it by ACCELERATOR == 'cuda'"


@rule(ast.Attribute, named=True)
def activity(node: ast.AST, source: Source) -> Iterator[Finding]:
    if _resolved(node, source) != f"{_ACTIVITY}.CUDA" or is_guarded(node, source):
        return
    own = vendors_own(f"{_ACTIVITY}.CUDA", source)
    apart = (
        "" if not own or own.startswith(f"{torch_name(source)}.profiler") else f"; {own} is of the vendor's profiler"
    )
    name = f"{torch_name(source)}.profiler.ProfilerActivity"
    listed = source.parent(node)
    if isinstance(listed, ast.List | ast.Tuple | ast.Set) and _are_activities(listed, source):
        edit = replace(source, listed, f"{torch_name(source)}.profiler.supported_activities()")
        yield Finding(listed, "rewritten", f"what PyTorch can record here{apart}", (edit,), ("torch",))
    elif source.target.style == "vendor":
        edit = replace(source, node, f"{name}.PrivateUse1")
        yield Finding(node, "rewritten", f"PyTorch's name for a vendor's device{apart}", (edit,), ("torch",))
    else:
        edit = replace(source, node, f"{name}.__members__.get({ACCELERATOR}.upper(), {name}.PrivateUse1)")
        reason = f"the accelerator's own activity{apart}"
        yield Finding(node, "rewritten", reason, (edit,), (ACCELERATOR, "torch"))


def _resolved(node: ast.AST, source: Source) -> str:
    return (source.resolve(node) or "").replace("torch.autograd.ProfilerActivity", _ACTIVITY)


def _are_activities(listed: ast.List | ast.Tuple | ast.Set, source: Source) -> bool:
    """Whether it is exactly CPU and CUDA, handed to the profiler here."""
    names = {_resolved(n, source) for n in listed.elts}
    keyword = source.parent(listed)
    is_argument = isinstance(keyword, ast.keyword) and keyword.arg == "activities"
    return is_argument and names == {f"{_ACTIVITY}.CPU", f"{_ACTIVITY}.CUDA"}


@rule(ast.Attribute)
def times(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`event.cuda_time_total`"""
    assert isinstance(node, ast.Attribute)
    if node.attr in _TIMES and isinstance(node.ctx, ast.Load) and source.resolve(node) is None:
        end = source.end(node)
        edit = Edit(end - len(node.attr), end, _TIMES[node.attr])
        yield Finding(node, "rewritten", "PyTorch's name for every device (2.4 and later)", (edit,))


@rule(ast.Constant)
def keys(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`sort_by="cuda_time_total"`"""
    assert isinstance(node, ast.Constant)
    if node.value not in _TIMES:
        return
    parent = source.parent(node)
    if isinstance(parent, ast.keyword) and parent.arg == "sort_by":
        yield Finding(node, "safe", "the profiler reads 'device' for 'cuda' here")


@rule(ast.keyword)
def old_switch(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`profile(use_cuda=True)`"""
    assert isinstance(node, ast.keyword)
    call = source.parent(node)
    name = source.resolve(call.func) or "" if isinstance(call, ast.Call) else ""
    if node.arg != "use_cuda" or not name.startswith(("torch.autograd.profiler", "torch.profiler")):
        return
    if isinstance(node.value, ast.Constant) and not node.value.value:
        yield Finding(node, "safe", "CUDA is not asked for")
    else:
        reason = "elsewhere it warns and records the CPU only: use torch.profiler.profile with supported_activities()"
        yield ask(node, reason, source)


@rule(ast.Attribute, ast.Name, ast.Call, named=True)
def ranges(node: ast.AST, source: Source) -> Iterator[Finding]:
    """torch.cuda.nvtx, torch.cuda.profiler, torch.cuda.cudart."""
    part = part_of(node, source)
    if part is None or OTHER_RULES.get(part.split(".")[0]) != "profiling":
        return
    call = call_of(node, source)
    if is_guarded(node, source):
        yield Finding(node, "safe", "it runs only where the accelerator is CUDA")
    elif call is not None and part in _QUIET and source.target.style == "agnostic":
        yield _only_on_cuda(call, "None", source)
    elif call is not None and part == "nvtx.range" and len(call.args) == 1 and source.target.style == "agnostic":
        message = source.text(call.args[0])
        yield _only_on_cuda(call, f"{torch_name(source)}.profiler.record_function({message})", source)
    elif call is not None and part == "cudart" and (outer := _profiler_call(call, source)):
        yield _only_on_cuda(outer, "None", source)
    else:
        own = vendors_own(f"torch.cuda.{part}", source)
        known = f"; {source.target.chip.title} has {own}" if own else ""
        yield ask(node, f"torch.cuda.{part}{known}: {_STEP}", source)


def _profiler_call(call: ast.Call, source: Source) -> ast.Call | None:
    """`cudart().cudaProfilerStart()`"""
    method = source.parent(call)
    if not (isinstance(method, ast.Attribute) and method.attr in ("cudaProfilerStart", "cudaProfilerStop")):
        return None
    return call_of(method, source) if source.target.style == "agnostic" else None


def _only_on_cuda(call: ast.Call, otherwise: str, source: Source) -> Finding:
    start, end = source.start(call), source.end(call)
    edits = (Edit(start, start, "("), Edit(end, end, f' if {ACCELERATOR} == "cuda" else {otherwise})'))
    return Finding(call, "rewritten", "it stays on CUDA; other devices have none of it", edits, (ACCELERATOR, "torch"))


@rule(ast.Attribute, ast.Name, named=True)
def emit(node: ast.AST, source: Source) -> Iterator[Finding]:
    if source.resolve(node) == "torch.autograd.profiler.emit_nvtx" and call_of(node, source):
        yield ask(node, "NVTX is NVIDIA's: use torch.profiler.profile, or guard it by ACCELERATOR == 'cuda'", source)
