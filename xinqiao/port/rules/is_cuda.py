"""`x.is_cuda` becomes a look at the device's type.

What it does: the attribute `is_cuda` of a tensor is rewritten; that of a class of the project that defines one
stays, and so does a guard of code made for CUDA alone, such as a Triton kernel.
Why: it is False on every other vendor's device.
Unsafe when: the object is a torch.nn.utils.rnn.PackedSequence, which has no `device`.
Source: PyTorch 2.13, torch.Tensor.is_cuda, torch.Tensor.device.

    if x.is_cuda:                          →    if x.device.type == ACCELERATOR:
"""

import ast
from collections.abc import Iterator

from xinqiao.port.cuda_branches import for_cuda_alone
from xinqiao.port.dialect import ACCELERATOR
from xinqiao.port.receivers import owner
from xinqiao.port.rule import Finding, rule
from xinqiao.port.scripted import device_for
from xinqiao.port.source import Edit, Source

_RISKY = "a class of this project has an is_cuda too; if this is a tensor, write x.device.type == ACCELERATOR"
_NEEDS_NO_PARENTHESES = ast.If | ast.While | ast.Assign | ast.Return | ast.keyword | ast.Assert


@rule(ast.Attribute)
def attribute(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Attribute)
    if node.attr != "is_cuda" or not isinstance(node.ctx, ast.Load):
        return
    if (resolved := source.resolve(node)) is not None and resolved.startswith("torch."):
        yield Finding(node, "needs-you", "compare the tensor's device.type with ACCELERATOR instead")
        return
    whose = owner(node.value, "is_cuda", source)
    if whose == "own":
        yield Finding(node, "safe", "an attribute that a class of this project defines")
        return
    if whose == "either":
        reason = "a class of this project has an is_cuda too: for a tensor, write x.device.type == ACCELERATOR"
        yield Finding(node, "needs-you", reason)
        return
    if (alone := for_cuda_alone(node, source)) is not None:
        yield alone
        return
    start, end = source.start(node), source.end(node)
    name = Edit(end - len("is_cuda"), end, f"device.type == {device_for(node, source)}")
    if isinstance(source.parent(node), _NEEDS_NO_PARENTHESES):
        edits: tuple[Edit, ...] = (name,)
    else:
        edits = (Edit(start, start, "("), Edit(name.start, name.end, name.text + ")"))
    risky = whose == "unknown"
    reason = _RISKY if risky else "the device's type says it on every device"
    yield Finding(node, "rewritten", reason, edits, (ACCELERATOR, "torch"), risky=risky)
