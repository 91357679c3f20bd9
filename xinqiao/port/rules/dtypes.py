"""Dtypes and complex numbers that a chip may not have.

What it does: float64, complex and float8 tensors, wide unsigned integers, `torch.fft`, `torch.polar` and the like get
the chip's own answer: nothing where it has them, `refused-by-chip` where it refuses them, and needs you where only some
operators have them, where they run on the host, or where no source says. What is visibly on the CPU is safe, and so
is a dtype that is only compared.
Why: most AI chips leave these out, and the failure comes late: at a rotary embedding, at a loss in float64.
Unsafe when: never seen
Source: the chip's dtypes and operator tables (chips/support.py), declared by the vendor.

    x = x.double()                         refused-by-chip: compute it in float32, or on the CPU
"""

import ast
from collections.abc import Iterator

from xinqiao.port.cuda_names import TYPED
from xinqiao.port.cuda_uses import is_guarded, part_of
from xinqiao.port.dtype_answers import ALIASES, WATCHED, Said, about_dtype, about_operator
from xinqiao.port.receivers import owner
from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Source

_METHODS = {"double": "float64", "cdouble": "complex128", "cfloat": "complex64", "chalf": "complex32"}
_TYPED = {"DoubleTensor": "float64", "ComplexDoubleTensor": "complex128", "ComplexFloatTensor": "complex64"}
_C2C = dict.fromkeys(("fft", "ifft", "fft2", "ifft2", "fftn", "ifftn"), ("aten::_fft_c2c", "complex64"))
_R2C = dict.fromkeys(("rfft", "rfft2", "rfftn", "ihfft", "ihfft2", "ihfftn"), ("aten::_fft_r2c", "float32"))
_C2R = dict.fromkeys(("irfft", "irfft2", "irfftn", "hfft", "hfft2", "hfftn"), ("aten::_fft_c2r", "complex64"))
_OPERATORS = {  # a function → the operator that decides, and its dtype
    **{f"torch.fft.{name}": operator for name, operator in (_C2C | _R2C | _C2R).items()},
    "torch.polar": ("aten::polar", "float32"),
    "torch.complex": ("aten::complex", "float32"),
    "torch.view_as_complex": ("aten::mul.Tensor", "complex64"),  # a view by itself; what follows is arithmetic
    "torch.stft": ("aten::stft", "float32"),
    "torch.istft": ("aten::istft", "complex64"),
}
_FACTORIES = {
    "arange", "as_tensor", "empty", "eye", "from_numpy", "full", "linspace", "logspace", "ones", "rand", "randn",
    "tensor", "zeros",
}  # fmt: skip
_FROM_ARRAYS = {"torch.from_numpy", "torch.as_tensor", "torch.tensor"}
_ASKED_ABOUT = {"torch.finfo", "torch.iinfo", "torch.can_cast", "torch.promote_types"}
_BINARY = {
    ast.Add: "aten::add.Tensor", ast.Sub: "aten::sub.Tensor", ast.Mult: "aten::mul.Tensor",
    ast.Div: "aten::div.Tensor", ast.MatMult: "aten::mm", ast.Pow: "aten::pow.Tensor_Scalar",
}  # fmt: skip
_LEAVES = {"cpu", "numpy", "item", "tolist"}
_NARROWS = {"float", "half", "bfloat16", "int", "long"}
_NUMPY_WIDE = {"linspace", "logspace", "zeros", "ones", "eye", "random.rand", "random.randn", "random.uniform",
               "random.normal", "random.random"}  # fmt: skip


@rule(ast.Attribute, ast.Name, ast.Call, named=True)
def named(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`torch.float64`, `torch.cuda.DoubleTensor`, `getattr(torch, "float8_e4m3fn")`."""
    dtype = _dtype(node, source)
    if dtype is None:
        return
    parent = source.parent(node)  # a tensor type is rewritten, the call that it is part of stays
    place = parent if part_of(node, source) in TYPED and isinstance(parent, ast.Call) else node
    yield from _place(place, about_dtype(dtype, source.target.chip, _operator(place, source)), source)


@rule(ast.Call)
def method(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`x.double()`"""
    assert isinstance(node, ast.Call)
    function = node.func
    if not (isinstance(function, ast.Attribute) and function.attr in _METHODS) or node.args or node.keywords:
        return
    if source.resolve(function) is None and owner(function.value, function.attr, source) != "own":
        yield from _place(
            node, about_dtype(_METHODS[function.attr], source.target.chip, _operator(node, source)), source
        )


@rule(ast.Call, named=True)
def function(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`torch.fft.rfft(x)`, `torch.from_numpy(np.linspace(0, 1, 9)).to(device)`."""
    assert isinstance(node, ast.Call)
    name = source.resolve(node.func) or ""
    if name in _OPERATORS:
        operator, dtype = _OPERATORS[name]
        yield from _place(node, about_operator(name, operator, dtype, source.target.chip), source)
    elif name in _FROM_ARRAYS and _is_wide_array(node, source) and _moves(node, source):
        yield from _place(node, about_dtype("float64", source.target.chip), source)


@rule(ast.keyword)
def python_float(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`torch.tensor(x, dtype=float)`: Python's float is float64."""
    assert isinstance(node, ast.keyword)
    call = source.parent(node)
    is_float = isinstance(node.value, ast.Name) and node.value.id == "float" and source.resolve(node.value) is None
    name = source.resolve(call.func) or "" if isinstance(call, ast.Call) else ""
    if node.arg == "dtype" and is_float and name.startswith("torch."):
        yield from _place(node.value, about_dtype("float64", source.target.chip), source)


def _dtype(node: ast.AST, source: Source) -> str | None:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return None
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        return None
    name = source.resolve(node) or ""
    part = name.removeprefix("torch.")
    if part == name or (isinstance(node, ast.Call) and name in _OPERATORS):
        return None
    if (typed := part_of(node, source)) in TYPED:
        return _TYPED.get(typed)
    dtype = ALIASES.get(part, part)
    return dtype if dtype in WATCHED else None


def _operator(node: ast.AST, source: Source) -> str:
    """What is computed at once with the tensor made here: `x.double() * y`; '' where it is not a simple expression."""
    here = node if isinstance(node, ast.Call) and not _is_getattr(node) else next(_calls_around(node, source), node)
    parent = source.parent(here)
    return _BINARY.get(type(parent.op), "") if isinstance(parent, ast.BinOp) else ""


def _is_getattr(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "getattr"


def _place(node: ast.AST, said: Said | None, source: Source) -> Iterator[Finding]:
    """The verdict at this place: what the chip says, unless the place is no tensor on the device."""
    if said is None or _is_type_annotation(node, source):
        return
    if _is_asked_about(node, source):
        yield Finding(node, "safe", "no tensor is made here: the dtype is asked about")
    elif is_guarded(node, source) and not source.target.audit:
        yield Finding(node, "safe", "it runs only where the accelerator is CUDA")
    elif _is_on_cpu(node, source):
        yield Finding(node, "safe", "it is on the CPU here")
    elif said.verdict == "refused-by-chip" and _is_made_on_cpu(node, source):
        yield Finding(
            node, "needs-you", f"made on the CPU, where it is fine; where it moves to the device, {said.reason}"
        )
    else:
        yield Finding(node, said.verdict, said.reason)


def _is_type_annotation(node: ast.AST, source: Source) -> bool:
    parent = source.parent(node)
    return isinstance(parent, ast.arg) or (isinstance(parent, ast.AnnAssign) and parent.annotation is node)


def _is_asked_about(node: ast.AST, source: Source) -> bool:
    child, parent = node, source.parent(node)
    while isinstance(parent, ast.Tuple | ast.List | ast.Set):
        child, parent = parent, source.parent(parent)
    if isinstance(parent, ast.Call) and child in parent.args:
        plain = parent.func.id if isinstance(parent.func, ast.Name) else ""
        return plain == "isinstance" or (source.resolve(parent.func) or "") in _ASKED_ABOUT
    if isinstance(parent, ast.Dict):
        return child in parent.keys
    is_read = isinstance(parent, ast.Subscript) and parent.slice is child
    return is_read or isinstance(parent, ast.Compare)


def _calls_around(node: ast.AST, source: Source) -> Iterator[ast.Call]:
    """The call itself or the one that takes it, then those that are chained to it: `f(x).g().h()`."""
    here: ast.AST | None = node
    while here is not None and not isinstance(here, ast.stmt):
        if isinstance(here, ast.Call):
            yield here
        here = source.parent(here)


def _is_cpu(value: ast.AST, source: Source) -> bool:
    if isinstance(value, ast.Constant):
        return value.value == "cpu"
    is_device = isinstance(value, ast.Call) and source.resolve(value.func) == "torch.device"
    return is_device and isinstance(value, ast.Call) and bool(value.args) and _is_cpu(value.args[0], source)


def _is_on_cpu(node: ast.AST, source: Source) -> bool:
    """Whether the call that makes the tensor says 'cpu', its receiver does, or the chain leaves PyTorch or narrows."""
    calls = list(_calls_around(node, source))
    for call in calls[:1]:
        if any(_is_cpu(v, source) for v in (*call.args, *(k.value for k in call.keywords if k.arg == "device"))):
            return True
        receiver: ast.AST = call.func
        while isinstance(receiver, ast.Attribute | ast.Call):
            receiver = receiver.value if isinstance(receiver, ast.Attribute) else receiver.func
            if isinstance(receiver, ast.Attribute) and receiver.attr in ("cpu", "numpy"):
                return True
    made_here = _is_made_on_cpu(node, source)
    methods = [c.func.attr for c in calls[1:] if isinstance(c.func, ast.Attribute)]
    return made_here and any(name in _LEAVES | _NARROWS for name in methods)


def _is_made_on_cpu(node: ast.AST, source: Source) -> bool:
    """Whether a factory without a device makes the tensor."""
    for call in _calls_around(node, source):
        name = (source.resolve(call.func) or "").removeprefix("torch.")
        if name in _FACTORIES:
            return not any(k.arg in ("device", None) for k in call.keywords)
    return False


def _is_wide_array(call: ast.Call, source: Source) -> bool:
    """Whether the first argument is an array that numpy makes of float64."""
    if not call.args or not isinstance(call.args[0], ast.Call) or any(k.arg == "dtype" for k in call.keywords):
        return False
    made = call.args[0]
    name = (source.resolve(made.func) or "").removeprefix("numpy.")
    return name in _NUMPY_WIDE and not any(k.arg == "dtype" for k in made.keywords)


def _moves(call: ast.Call, source: Source) -> bool:
    """Whether the tensor moves to a device as it is: `.to(device)` or `.cuda()` before anything narrows it."""
    if any(k.arg == "device" for k in call.keywords):
        return True
    for chained in list(_calls_around(call, source))[1:]:
        name = chained.func.attr if isinstance(chained.func, ast.Attribute) else ""
        if name in _NARROWS | _LEAVES:
            return False
        if name in ("to", "cuda"):
            return len(chained.args) + len(chained.keywords) < 2
    return False
