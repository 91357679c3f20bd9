"""Mixed precision of `torch.cuda.amp` becomes that of `torch.amp`.

What it does: `autocast`, `GradScaler`, `custom_fwd` and `custom_bwd` get the device's name as their first argument;
`autocast` also gets the dtype that `torch.cuda.amp` had by default.
Why: `torch.cuda.amp` works for one vendor and is deprecated.
Unsafe when: never seen.
Source: PyTorch 2.13, torch/cuda/amp/autocast_mode.py, torch/amp/autocast_mode.py, torch/amp/grad_scaler.py.

    with torch.cuda.amp.autocast():        →    with torch.amp.autocast(ACCELERATOR, dtype=torch.float16):
    scaler = GradScaler()                  →    scaler = GradScaler(ACCELERATOR)
"""

import ast
from collections.abc import Iterator

from xinqiao.port.amp_uses import PARTS, has_values, is_alias, is_decorator, is_value, part_of
from xinqiao.port.dialect import ACCELERATOR, device, torch_name
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Edit, Source

_POSITIONS = ("enabled", "dtype", "cache_enabled")  # of torch.cuda.amp.autocast
_REASON = "torch.amp has it for every device"


@rule(ast.Call, named=True)
def call(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Call)
    part = part_of(source.resolve(node.func))
    if part not in PARTS:
        return
    if any(isinstance(a, ast.Starred) for a in node.args):
        yield Finding(node, "needs-you", f"write torch.amp.{part}(ACCELERATOR, ...) with the same arguments")
        return
    opening = source.data.index(b"(", source.end(node.func)) + 1
    keyword = "device_type=" if part.startswith("custom") else ""
    first = f"{keyword}{device(source)}"
    edits = list(_name(node.func, part, source))
    if part == "autocast":
        for position, argument in zip(_POSITIONS, node.args, strict=False):
            edits.append(Edit(source.start(argument), source.start(argument), f"{position}="))
        given = {k.arg for k in node.keywords} | set(_POSITIONS[: len(node.args)])
        if "dtype" not in given:
            first += f", dtype={torch_name(source)}.float16"
    comma = ", " if node.args or node.keywords else ""
    edits.append(Edit(opening, opening, first + comma))
    yield Finding(node, "rewritten", _REASON, tuple(edits), (ACCELERATOR, "torch"))


def _name(function: ast.AST, part: str, source: Source) -> Iterator[Edit]:
    if isinstance(function, ast.Attribute) or has_values(source):  # the name itself still is torch.cuda.amp's
        yield replace(source, function, f"{torch_name(source)}.amp.{part}")


@rule(ast.Attribute, ast.Name, named=True)
def other(node: ast.AST, source: Source) -> Iterator[Finding]:
    """Uses that are no calls: a bare decorator, a module handed around."""
    parent = source.parent(node)
    if isinstance(parent, ast.Call) and parent.func is node:
        return
    if isinstance(parent, ast.Attribute):
        return
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return
    name = source.resolve(node)
    part = part_of(name)
    if part in ("custom_fwd", "custom_bwd") and is_decorator(node, parent):
        called = Edit(source.end(node), source.end(node), f"(device_type={device(source)})")
        edits = (*_name(node, part, source), called)
        yield Finding(node, "rewritten", _REASON, edits, (ACCELERATOR, "torch"))
    elif is_alias(node, parent) and (part in PARTS or name == "torch.cuda.amp"):
        text = f"{torch_name(source)}.amp.{part}" if part else f"{torch_name(source)}.amp"
        reason = "torch.amp has it for every device; its calls are rewritten where they stand"
        yield Finding(node, "rewritten", reason, (replace(source, node, text),), ("torch",))
    elif is_value(node, source):
        yield Finding(node, "needs-you", "use torch.amp, whose functions take the device's name first")
