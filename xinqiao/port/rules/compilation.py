"""`torch.compile`, Inductor's settings, and the fusers of `torch.jit`.

What it does: a call of `torch.compile` gets the chip's answer: safe where the vendor has Inductor's code generator,
else needs you. Modes that capture CUDA graphs are left: Inductor captures none on other devices. Back ends that exist
for CUDA only need you.
Why: Inductor writes Triton kernels, and a chip without Triton stops at the first call, not at `torch.compile`.
Unsafe when: the vendor's Inductor lacks an operator; it falls back or stops when the model runs.
Source: torch 2.13 torch/_inductor/cudagraph_utils.py; torch/csrc/jit/python/init.cpp (nvFuser is a no-op with a
warning); the vendors' sources (chips/platforms).

    torch.compile(model, backend="cudagraphs")     needs you: leave the back end out
"""

import ast
from collections.abc import Iterator

from xinqiao.port.cuda_uses import ask
from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Source

_CUDA_BACKENDS = {
    "cudagraphs": "it captures CUDA graphs: leave the back end out",
    "tensorrt": "ask the vendor for its inference engine",
    "torch_tensorrt": "ask the vendor for its inference engine",
    "nvfuser": "it is gone from PyTorch: leave the back end out",
    "nvprims_nvfuser": "it is gone from PyTorch: leave the back end out",
}
_GRAPH_MODES = ("reduce-overhead", "max-autotune")
_FUSERS = ("_jit_set_nvfuser_enabled", "_jit_set_nvfuser_single_node_mode", "_jit_set_nvfuser_horizontal_mode")


@rule(ast.Call, named=True)
def call(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Call)
    name = source.resolve(node.func) or ""
    if name == "torch.compile":
        yield _compile(node, source)
    elif name == "torch.jit.fuser" or name.rpartition(".")[2] in _FUSERS:
        yield Finding(node, "safe", "PyTorch has no nvFuser any more: it warns and changes nothing")


@rule(ast.Attribute, ast.Name, named=True)
def decorator(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`@torch.compile` without a call."""
    parent = source.parent(node)
    is_decorator = isinstance(parent, ast.FunctionDef | ast.ClassDef) and node in parent.decorator_list
    if is_decorator and source.resolve(node) == "torch.compile":
        yield _inductor(node, "", source)


@rule(ast.Attribute, named=True)
def setting(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Attribute)
    name = source.resolve(node) or ""
    if name.startswith(("torch._inductor.config.triton", "torch._inductor.config.cuda")) and not isinstance(
        node.ctx, ast.Load
    ):
        yield Finding(node, "safe", "Inductor keeps the setting on every device, and only its own code reads it")


def _compile(node: ast.Call, source: Source) -> Finding:
    given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
    backend, mode = str(given.get("backend", "inductor")), str(given.get("mode", ""))
    if backend in _CUDA_BACKENDS:
        return _of_cuda(node, f"the back end {backend} exists for CUDA only: {_CUDA_BACKENDS[backend]}", source)
    if backend != "inductor":
        return Finding(node, "safe", f"the back end {backend} is not Inductor")
    if any(k.arg == "disable" and isinstance(k.value, ast.Constant) and k.value.value for k in node.keywords):
        return Finding(node, "safe", "it is switched off")
    graphs = "; elsewhere Inductor leaves the mode's graphs out" if mode.startswith(_GRAPH_MODES) else ""
    return _inductor(node, graphs, source)


def _inductor(node: ast.AST, graphs: str, source: Source) -> Finding:
    chip = source.target.chip
    if chip.platform.inductor:
        return Finding(node, "safe", f"Inductor runs on {chip.title} with {chip.platform.inductor}{graphs}")
    reason = f"it is not known whether Inductor runs on {chip.title}: try it there, or leave torch.compile out"
    return _of_cuda(node, f"{reason}{graphs}", source)


def _of_cuda(node: ast.AST, reason: str, source: Source) -> Finding:
    """What a chip may lack even where its PyTorch device is 'cuda'."""
    return Finding(node, "needs-you", reason) if source.target.audit else ask(node, reason, source)
