"""Flags of cuDNN and of CUDA's matrix products.

What it does: a flag that is only set is left, because no other device reads it; anything that is read or called needs
you.
Why: `torch.backends.cudnn.benchmark = True` changes nothing elsewhere, but a program that asks for `cudnn.version()`
decides by the answer.
Unsafe when: never seen: nothing is rewritten.
Source: PyTorch 2.13, torch/backends/cudnn/__init__.py, torch/backends/cuda/__init__.py.

    torch.backends.cudnn.benchmark = True  →    torch.backends.cudnn.benchmark = True
"""

import ast
from collections.abc import Iterator

from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Source

_FLAGS = {
    "benchmark": "no other device reads it",
    "deterministic": "no other device reads it; torch.use_deterministic_algorithms(True) asks every device",
    "enabled": "no other device reads it",
    "allow_tf32": "no other device reads it; whether the chip rounds fp32 products is its own setting",
    "allow_fp16_reduced_precision_reduction": "no other device reads it",
    "allow_bf16_reduced_precision_reduction": "no other device reads it",
    "fp32_precision": "no other device reads it",
}


@rule(ast.Attribute, ast.Name)
def use(node: ast.AST, source: Source) -> Iterator[Finding]:
    parent = source.parent(node)
    if isinstance(parent, ast.Attribute) and parent.value is node:
        return
    name = source.resolve(node) or ""
    if not name.startswith(("torch.backends.cudnn", "torch.backends.cuda")):
        return
    flag = name.rpartition(".")[2]
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and flag in _FLAGS:
        yield Finding(node, "safe", _FLAGS[flag])
    elif isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Load):  # type: ignore[attr-defined]
        yield Finding(node, "needs-you", f"{name} is CUDA's own: guard it by ACCELERATOR == 'cuda', or remove it")
