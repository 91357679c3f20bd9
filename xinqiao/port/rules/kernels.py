"""Kernels written for CUDA, and what builds them.

What it does: a Triton or numba.cuda kernel, a CUDA source (a file, or a string in Python), and the calls that compile
or launch them are found with their names, signatures and call sites. For each kernel a port adds a function
`<kernel>_reference` for you to write, which stops with the call sites until you do.
Why: a kernel is written for one kind of device; what it computes can be said in PyTorch for all of them, and checked.
Unsafe when: never seen.
Source: https://triton-lang.org, https://docs.pytorch.org/docs/stable/cpp_extension.html,
https://docs.cupy.dev/en/stable/user_guide/kernel.html
"""

import ast
from collections.abc import Iterator

from xinqiao.port import cuda_source, stubs
from xinqiao.port.additions import Added
from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Source

_JIT = {"triton.jit", "triton.runtime.jit.jit", "triton.runtime.jit", "numba.cuda.jit"}
_EXTENSION = "torch.utils.cpp_extension."
_BUILDS = {"load", "load_inline", "CUDAExtension"}
_CUPY = {"RawKernel", "RawModule", "ElementwiseKernel", "ReductionKernel"}


@rule(ast.FunctionDef)
def kernel(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.FunctionDef)
    decorators = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    decorator = next((d for d in decorators if source.resolve(d) in _JIT), None)
    if decorator is None:
        return
    sites = source.around.sites.get(node.name, ())
    signature = f"{node.name}({', '.join(a.arg for a in _arguments(node))})"
    called = f"launched at {', '.join(sites)}" if sites else "its launch was not found"
    where = f"{source.path}:{node.lineno}"
    text = stubs.stub(
        node.name,
        where,
        [(a.arg, _type(a)) for a in _arguments(node)],
        result="None",
        signature=signature,
        called=sites,
    )
    package = "Triton" if (source.resolve(decorator) or "").startswith("triton") else "numba.cuda"
    if package == "Triton" and _runs_triton(source):
        yield Finding(decorator, "safe", f"{source.target.chip.title} has Triton itself: compare the kernel's results")
        return
    reason = f"{package} kernel {signature}, {called}: {_write(node.name)}"
    for other in (d for d in decorators if d is not decorator and (source.resolve(d) or "").startswith("triton.")):
        yield Finding(other, "needs-you", f"tunes the kernel {node.name}: it goes when the kernel does")
    yield Finding(decorator, "needs-you", reason, adds=stubs.beside(node.name, text, source))


def _runs_triton(source: Source) -> bool:
    return source.target.chip.platform.modules.get("triton") == "triton"


def _write(name: str) -> str:
    return f"write {name}_reference with PyTorch operators in the file that a port adds, or ask for the vendor's kernel"


def _arguments(node: ast.FunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def _type(argument: ast.arg) -> str:
    if argument.annotation is not None and "constexpr" in ast.unparse(argument.annotation):
        return "int"
    return "Tensor" if "ptr" in argument.arg.lower() else "Tensor | float"


@rule(ast.Call, named=True)
def call(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Call)
    name = source.resolve(node.func) or ""
    if name.startswith(_EXTENSION) and name.removeprefix(_EXTENSION) in _BUILDS:
        yield from _build(node, name.removeprefix(_EXTENSION), source)
    elif name.startswith(("cupy.", "cupyx.jit.")) and name.rpartition(".")[2] in (*_CUPY, "rawkernel"):
        texts = [t for a in node.args if (t := _string(a))]
        named = f" {texts[1]}" if name == "cupy.RawKernel" and len(texts) > 1 else ""
        yield Finding(node.func, "needs-you", f"a CUDA kernel{named} is compiled here: write it with PyTorch operators")


@rule(ast.Call)
def launch(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`kernel[grid](...)`"""
    assert isinstance(node, ast.Call)
    function = node.func
    if not isinstance(function, ast.Subscript):
        return
    last = function.value.attr if isinstance(function.value, ast.Attribute) else getattr(function.value, "id", "")
    if last and last in source.around.sites and not _runs_triton(source):
        reason = f"launches the kernel {last}: call {last}_reference where the device is not CUDA"
        yield Finding(function, "needs-you", reason)


def _build(node: ast.Call, how: str, source: Source) -> Iterator[Finding]:
    arguments = {k.arg: k.value for k in node.keywords}
    for position, argument in zip(("name", "sources"), node.args, strict=False):
        arguments.setdefault(position, argument)
    name = _string(arguments.get("name"))
    files = _strings(arguments.get("sources"))
    functions = _strings(arguments.get("functions"))
    for_cuda = any(f.endswith((".cu", ".cuh")) for f in files) or "extra_cuda_cflags" in arguments
    if how == "load" and files and not for_cuda:
        yield Finding(node.func, "safe", f"builds {', '.join(files)}, which is C++ for the host")
        return
    said = [f"the extension {name}" if name else "an extension"]
    said += [f"from {', '.join(files)}"] if files else []
    said += [f"with {', '.join(functions)}"] if functions else []
    reason = f"{' '.join(said)} is compiled for CUDA here: {_REFERENCES}"
    yield Finding(node.func, "needs-you", reason)


_REFERENCES = "write what its functions compute with PyTorch operators, and call that where the device is not CUDA"


def _string(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _strings(node: ast.AST | None) -> list[str]:
    parts = node.elts if isinstance(node, ast.List | ast.Tuple) else [node] if node is not None else []
    return [s for p in parts if (s := _string(p))]


@rule(ast.Attribute, ast.Name, named=True)
def home(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`CUDA_HOME`, which is None without CUDA."""
    if source.resolve(node) == f"{_EXTENSION}CUDA_HOME" and isinstance(getattr(node, "ctx", None), ast.Load):
        yield Finding(node, "needs-you", "CUDA_HOME is None on a machine without CUDA: build what needs it only there")


@rule(ast.Constant)
def text(node: ast.AST, source: Source) -> Iterator[Finding]:
    """CUDA source in a string."""
    assert isinstance(node, ast.Constant)
    if not isinstance(node.value, str) or "__global__" not in node.value:
        return
    entries = cuda_source.kernels(node.value)
    adds: list[Added] = []
    for entry in entries:
        where = f"{source.path}:{node.lineno}"
        parameters = stubs.parameters_of_c(entry.parameters)
        written = stubs.stub(
            entry.name,
            where,
            parameters,
            result="None",
            signature=entry.signature,
            called=source.around.sites.get(entry.name, ()),
        )
        adds += stubs.beside(entry.name, written, source)
    named = "; ".join(e.signature for e in entries) or "no entry point was found"
    first = entries[0].name if entries else "it"
    step = _write(first) if len(entries) == 1 else "write each <kernel>_reference in the files that a port adds"
    yield Finding(node, "needs-you", f"CUDA source in a string ({named}): {step}", adds=tuple(adds))
