"""Tensor types such as `torch.cuda.FloatTensor` become a dtype and a device.

What it does: a constructor call becomes `torch.empty` or `torch.tensor`, where its arguments tell sizes from data; as
an argument of `.type(...)`, in a comparison with `.type()` and in `isinstance` the type is written by its name, which
PyTorch has for every device. `set_default_tensor_type` becomes `set_default_dtype` and `set_default_device` with
--risky. A type that is handed around as a value needs you.
Why: the types exist for CUDA only.
Unsafe when: `set_default_device` is asked for with --risky and the program makes tensors in other threads or with
`torch.Tensor(...)`: both follow the default tensor type, not the default device.
Source: torch 2.13 torch/csrc/tensor/python_tensor.cpp (a type's name holds the device's), torch/utils/_device.py.

    torch.cuda.FloatTensor(2, 3)           →    torch.empty(2, 3, dtype=torch.float32, device=ACCELERATOR)
    x.type(torch.cuda.HalfTensor)          →    x.type(f"torch.{ACCELERATOR}.HalfTensor")
"""

import ast
import re
from collections.abc import Iterator

from xinqiao.port.cuda_names import TYPED
from xinqiao.port.cuda_uses import ask, call_of, part_of
from xinqiao.port.dialect import ACCELERATOR, device, device_inside_text, torch_name
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Edit, Source

_DTYPES = {
    "BFloat16": "bfloat16", "Bool": "bool", "Byte": "uint8", "Char": "int8", "Double": "float64", "Float": "float32",
    "Half": "float16", "Int": "int32", "Long": "int64", "Short": "int16",
    "ComplexDouble": "complex128", "ComplexFloat": "complex64",
}  # fmt: skip
_TEXT = re.compile(r"torch\.cuda\.(\w+Tensor)\Z")
_NEEDS = (ACCELERATOR, "torch")
_ASK = "a tensor type as a value: hand on a dtype and a device, such as dtype=torch.{dtype}, device=ACCELERATOR"


@rule(ast.Attribute, ast.Name, ast.Call, named=True)
def named(node: ast.AST, source: Source) -> Iterator[Finding]:
    part = part_of(node, source)
    if part in TYPED:
        yield from _use(node, part, source)


@rule(ast.Constant)
def text(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Constant)
    found = _TEXT.match(node.value) if isinstance(node.value, str) else None
    if found is None or found[1] not in TYPED:
        return
    parent = source.parent(node)
    if isinstance(parent, ast.Compare) and any(_is_type_call(n) for n in (parent.left, *parent.comparators)):
        yield _by_name(node, node, found[1], source)
    elif isinstance(parent, ast.Call) and node in parent.args:
        yield from _use(node, found[1], source)


def _use(node: ast.AST, kind: str, source: Source) -> Iterator[Finding]:
    parent = source.parent(node)
    call = call_of(node, source)
    if call is not None:
        yield _constructor(call, kind, source)
    elif _is_annotation(node, parent):
        yield Finding(node, "safe", "an annotation: PyTorch has the name everywhere")
    elif isinstance(parent, ast.Call) and parent.args[:1] == [node] and _method(parent) == "type":
        yield _by_name(node, node, kind, source)
    elif isinstance(parent, ast.Call) and source.resolve(parent.func) == "torch.set_default_tensor_type":
        yield _default(parent, kind, source)
    elif isinstance(parent, ast.Call) and _is_isinstance(parent, node):
        yield _isinstance(parent, kind, source)
    elif not isinstance(node, ast.Constant):
        yield ask(node, _ASK.format(dtype=_dtype(kind)), source)


def _dtype(kind: str) -> str:
    return _DTYPES[kind.removesuffix("Tensor").removesuffix("Storage")]


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _is_type_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _method(node) == "type" and not node.args


def _is_annotation(node: ast.AST, parent: ast.AST | None) -> bool:
    if isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
        return parent.returns is node
    return isinstance(parent, ast.arg | ast.AnnAssign) and parent.annotation is node


def _is_isinstance(call: ast.Call, node: ast.AST) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "isinstance" and call.args[1:] == [node]


def _name(kind: str, source: Source) -> str:
    inside = device_inside_text(source)
    return f'{"f" if inside.startswith("{") else ""}"torch.{inside}.{kind}"'


def _by_name(node: ast.AST, place: ast.AST, kind: str, source: Source) -> Finding:
    reason = "PyTorch names the type of every device's tensors"
    return Finding(node, "rewritten", reason, (replace(source, place, _name(kind, source)),), _NEEDS)


def _constructor(call: ast.Call, kind: str, source: Source) -> Finding:
    function = _function(call) if kind.endswith("Tensor") else ""
    dtype = f"dtype={torch_name(source)}.{_dtype(kind)}, device={device(source)}"
    if not function:
        reason = f"write torch.empty for sizes or torch.tensor for data, with dtype=torch.{_dtype(kind)}"
        return ask(call, f"{reason}, device=ACCELERATOR", source)
    end = source.end(call) - 1
    before = source.data[:end].rstrip()
    comma = "" if before.endswith(b",") else ", " if call.args else "0, "
    edits = (
        replace(source, call.func, f"{torch_name(source)}.{function}"),
        Edit(end, end, f"{comma}{dtype}"),
    )
    return Finding(call, "rewritten", f"torch.{function} makes it on every device", edits, _NEEDS)


def _function(call: ast.Call) -> str:
    """'empty' where the arguments are sizes, 'tensor' where they are data, '' where they do not tell."""
    if call.keywords:
        return ""
    if len(call.args) != 1:
        return "empty"
    [only] = call.args
    if isinstance(only, ast.List | ast.ListComp | ast.Tuple):
        return "tensor"
    is_size = isinstance(only, ast.Starred) or (isinstance(only, ast.Constant) and isinstance(only.value, int))
    is_shape = (isinstance(only, ast.Attribute) and only.attr == "shape") or (
        isinstance(only, ast.Call) and _method(only) == "size" and not only.args
    )
    return "empty" if is_size or is_shape else ""


def _isinstance(call: ast.Call, kind: str, source: Source) -> Finding:
    value = call.args[0]
    if kind.endswith("Storage") or not isinstance(value, ast.Name | ast.Attribute):
        return ask(call, f"compare its .type() with {_name(kind, source)}", source)
    it, tensor = source.text(value), f"{torch_name(source)}.Tensor"
    text = f"(isinstance({it}, {tensor}) and {it}.type() == {_name(kind, source)})"
    return Finding(
        call, "rewritten", "PyTorch names the type of every device's tensors", (replace(source, call, text),), _NEEDS
    )


def _default(call: ast.Call, kind: str, source: Source) -> Finding:
    torch, dtype = torch_name(source), _dtype(kind)
    reason = (
        f"torch.set_default_dtype(torch.{dtype}) and torch.set_default_device(ACCELERATOR) say it for any device, "
        "but not for other threads and not for torch.Tensor(...)"
    )
    if not isinstance(source.parent(call), ast.Expr):
        return ask(call, reason, source)
    line = source.data.rfind(b"\n", 0, source.start(call)) + 1
    indent = source.data[line : source.start(call)].decode()
    between = f"{source.newline}{indent}" if not indent.strip() else "; "
    text = f"{torch}.set_default_dtype({torch}.{dtype}){between}{torch}.set_default_device({device(source)})"
    return Finding(call, "rewritten", reason, (replace(source, call, text),), _NEEDS, risky=True)
