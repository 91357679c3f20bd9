"""Flags and questions of `torch.backends.cudnn` and `torch.backends.cuda`.

What it does: a flag is left where it is set or read, because PyTorch keeps it whatever the device; where the chip has a
switch of its own, the reason names it, and the vendor style sets that one. `sdp_kernel` becomes
`torch.nn.attention.sdpa_kernel` with the same list; `torch.backends.cuda.is_built()` asks for any accelerator. What
fails without CUDA, or is decided by, needs you.
Why: `torch.backends.cudnn.benchmark = True` changes nothing elsewhere, but `cudnn.version() > 8000` fails.
Unsafe when: never seen
Source: torch 2.13 torch/backends/cudnn/__init__.py and torch/backends/cuda/__init__.py (sdp_kernel is written there as
a call of sdpa_kernel); the vendors' switches (chips/platforms).

    with torch.backends.cuda.sdp_kernel(enable_math=False, enable_cudnn=False):
    →  with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.FLASH_ATTENTION, ...]):
"""

import ast
from collections.abc import Iterator

from xinqiao.port.cuda_uses import ask, call_of
from xinqiao.port.dialect import torch_name, vendors_own
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Source

_PREFIXES = ("torch.backends.cudnn", "torch.backends.cuda")
_KEPT = "PyTorch keeps this flag on every device, and only CUDA acts on it"
_FLAGS = {
    "benchmark": _KEPT,
    "benchmark_limit": _KEPT,
    "deterministic": f"{_KEPT}; torch.use_deterministic_algorithms(True) asks every device",
    "enabled": _KEPT,
    "flags": _KEPT,
    "set_flags": _KEPT,
    "allow_tf32": f"{_KEPT}; whether the chip rounds fp32 products is its own setting",
    "fp32_precision": f"{_KEPT}; whether the chip rounds fp32 products is its own setting",
    "allow_fp16_accumulation": _KEPT,
    "allow_fp16_reduced_precision_reduction": _KEPT,
    "allow_bf16_reduced_precision_reduction": _KEPT,
    "allow_fp16_bf16_reduction_math_sdp": _KEPT,
    "fp16_bf16_reduction_math_sdp_allowed": _KEPT,
    **{f"enable_{name}_sdp": _KEPT for name in ("flash", "math", "mem_efficient", "cudnn")},
    **{f"{name}_sdp_enabled": _KEPT for name in ("flash", "math", "mem_efficient", "cudnn")},
    "is_available": "False on every other device, as on a CPU",
    "is_acceptable": "False for tensors of every other device, as on a CPU",
}
_STEPS = {
    "version": "it is None on other devices: guard what is decided by it",
    "cufft_plan_cache": "it fails without CUDA: guard it by ACCELERATOR == 'cuda'",
    "preferred_blas_library": "it fails for CUDA's libraries without CUDA: guard it by ACCELERATOR == 'cuda'",
    "preferred_linalg_library": "it fails for CUDA's libraries without CUDA: guard it by ACCELERATOR == 'cuda'",
    "is_flash_attention_available": "False on other devices: call scaled_dot_product_attention, which chooses itself",
    "SDPBackend": "import it from torch.nn.attention",
}
_STEP = "it is CUDA's own: guard it by ACCELERATOR == 'cuda', or leave it out"
_BACKENDS = (  # in the order in which sdp_kernel lists them
    ("enable_flash", "FLASH_ATTENTION"),
    ("enable_mem_efficient", "EFFICIENT_ATTENTION"),
    ("enable_math", "MATH"),
    ("enable_cudnn", "CUDNN_ATTENTION"),
)
_POSITIONS = ("enable_flash", "enable_math", "enable_mem_efficient", "enable_cudnn")


@rule(ast.Attribute, ast.Name, named=True)
def use(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Attribute | ast.Name)
    parent = source.parent(node)
    if isinstance(parent, ast.Attribute) and parent.value is node:
        return
    name = source.resolve(node) or ""
    if name == "torch.set_float32_matmul_precision":
        yield Finding(node, "safe", "it asks every device; whether the chip rounds fp32 products is its own setting")
    if not (name in _PREFIXES or name.startswith(tuple(f"{p}." for p in _PREFIXES))):
        return
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return
    call = call_of(node, source)
    part = name.rpartition(".")[2]
    if part == "sdp_kernel" and call is not None:
        yield _sdp_kernel(call, source)
    elif name == "torch.backends.cuda.is_built" and call is not None:
        text = f"({torch_name(source)}.accelerator.current_accelerator() is not None)"
        reason = "PyTorch tells what it is built for"
        yield Finding(call, "rewritten", reason, (replace(source, call, text),), ("torch",))
    elif part in _FLAGS:
        yield _flag(node, name, part, source)
    elif name in _PREFIXES:
        yield Finding(node, "safe", "the module is there on every device; its uses are looked at")
    elif part == "version" and not _is_decided_by(call, source):
        yield Finding(node, "safe", "it is None on every other device, as on a CPU")
    else:
        step = next((_STEPS[p] for p in name.split(".") if p in _STEPS), _STEP)
        yield ask(node, f"{name}: {step}", source)


def _flag(node: ast.AST, name: str, part: str, source: Source) -> Finding:
    own = vendors_own(name, source)
    if not own:
        return Finding(node, "safe", _FLAGS[part])
    if source.target.style == "vendor":
        edit = replace(source, node, own)
        return Finding(node, "rewritten", "the vendor's switch for rounding fp32 products", (edit,), ("torch",))
    return Finding(node, "safe", f"{_KEPT}; the chip's own switch is {own}")


def _is_decided_by(call: ast.Call | None, source: Source) -> bool:
    parent = source.parent(call) if call is not None else None
    return isinstance(parent, ast.Compare | ast.BinOp | ast.Subscript | ast.Attribute)


def _sdp_kernel(call: ast.Call, source: Source) -> Finding:
    given = dict(zip(_POSITIONS, call.args, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
    plain = len(given) == len(call.args) + len(call.keywords)
    if not plain or not all(isinstance(v, ast.Constant) and isinstance(v.value, bool) for v in given.values()):
        reason = "use torch.nn.attention.sdpa_kernel with a list of the back ends that are wanted"
        return ask(call, reason, source)
    off = {name for name, value in given.items() if isinstance(value, ast.Constant) and not value.value}
    attention = f"{torch_name(source)}.nn.attention"
    names = [f"{attention}.SDPBackend.{backend}" for switch, backend in _BACKENDS if switch not in off]
    text = f"{attention}.sdpa_kernel([{', '.join(names)}])"
    reason = "the same choice under the name that PyTorch keeps"
    return Finding(call, "rewritten", reason, (replace(source, call, text),), ("torch",))
