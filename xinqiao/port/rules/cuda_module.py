"""Names of `torch.cuda` become those of `torch.accelerator`, or of the device's own module.

What it does: what `torch.accelerator` has for every device is taken from there; any other name that the chip's module
has is taken from `torch.get_device_module(ACCELERATOR)`, which is `torch.cuda` on CUDA. Aliases are followed:
`import torch.cuda as tc`, `from torch import cuda`, `getattr(torch, "cuda")`. A name that the chip's module lacks needs
you. Compute capability that is compared needs you: it numbers NVIDIA's generations.
Why: `torch.cuda` is one vendor's module. Memory functions come from the device's module, because those of
`torch.accelerator` raise where there is no accelerator and those of `torch.cuda` answer 0.
Unsafe when: a module that the program replaces at run time has the name.
Source: torch 2.13 torch/cuda/__init__.py and torch/accelerator; the vendors' modules (chips/platforms).

    torch.cuda.synchronize()               →    torch.accelerator.synchronize()
    torch.cuda.manual_seed_all(seed)       →    ACCELERATOR_MODULE.manual_seed_all(seed)
    torch.cuda.OutOfMemoryError            →    torch.OutOfMemoryError
"""

import ast
from collections.abc import Iterator

from xinqiao.port.cuda_branches import for_cuda_alone
from xinqiao.port.cuda_names import ASK, COMMON, DEFAULT_STEP, OTHER_RULES, PORTABLE, SAFE, TYPED
from xinqiao.port.cuda_uses import CUDA, ask, call_of, is_guarded, is_written_to, part_of
from xinqiao.port.dialect import ACCELERATOR, MODULE, module, portable, vendors_own
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Edit, Source

_MODULE_HAS = "the device's own module has it"
_CAPABILITY = (
    "compute capability numbers NVIDIA's generations: ask for what the code needs, such as is_bf16_supported(), "
    "or write ACCELERATOR == 'cuda' and ... around it"
)
_PROPERTIES = {
    "L2_cache_size", "gcnArchName", "major", "max_threads_per_multi_processor", "minor", "multi_processor_count",
    "regs_per_multiprocessor", "shared_memory_per_block", "shared_memory_per_block_optin",
    "shared_memory_per_multiprocessor", "warp_size",
}  # fmt: skip


@rule(ast.Attribute, ast.Name, ast.Call, named=True)
def use(node: ast.AST, source: Source) -> Iterator[Finding]:
    part = part_of(node, source)
    if part is None or part.split(".")[0] in OTHER_RULES or part in TYPED:
        return
    if is_guarded(node, source):
        yield Finding(node, "safe", "it runs only where the accelerator is CUDA")
    elif is_written_to(node, source):
        yield ask(node, f"{_full(part)} is replaced here; do the same for the device's own module", source)
    elif part == "is_available" and (alone := _alone(node, source)) is not None:
        yield alone
    elif part in PORTABLE:
        yield _portable(node, part, source)
    elif part in ("get_device_capability", "get_device_properties") and _is_about_nvidia(node, source):
        yield _capability(node, part, source)
    elif part == "is_bf16_supported" and (call := call_of(node, source)) and (call.args or call.keywords):
        yield ask(node, "only torch.cuda's takes an argument: write it without", source)
    elif not part or has(part, source):
        edit = replace(source, node, module(part, source))
        yield Finding(node, "rewritten", _MODULE_HAS, (edit,), (ACCELERATOR, MODULE))
    else:
        yield _without(node, part, source)


@rule(ast.Attribute, named=True)
def version(node: ast.AST, source: Source) -> Iterator[Finding]:
    """`torch.version.cuda`, None where PyTorch is built for another device."""
    assert isinstance(node, ast.Attribute)
    if source.resolve(node) not in ("torch.version.cuda", "torch.version.hip"):
        return
    parent = source.parent(node)
    if isinstance(parent, ast.Attribute | ast.Subscript) or is_written_to(node, source):
        reason = "it is None where PyTorch is not built for CUDA: guard it by `if torch.version.cuda`"
        yield ask(node, reason, source)
    else:
        yield Finding(node, "safe", "it is None where PyTorch is not built for CUDA, as on a CPU")


def has(part: str, source: Source) -> bool:
    """Whether the module of the chip's device has a name of torch.cuda, as far as is known."""
    return part in (source.target.chip.platform.module or COMMON)


def _full(part: str) -> str:
    return f"{CUDA}.{part}" if part else CUDA


def _portable(node: ast.AST, part: str, source: Source) -> Finding:
    edits = [replace(source, node, portable(PORTABLE[part], part, source))]
    call = call_of(node, source)
    if call is not None and PORTABLE[part].startswith("accelerator."):  # its parameters have no names
        edits += [Edit(source.start(k), source.start(k.value), "") for k in call.keywords if k.arg == "device"]
    return Finding(node, "rewritten", "PyTorch has it for every device", tuple(edits), ("torch",))


def _alone(node: ast.AST, source: Source) -> Finding | None:
    call = call_of(node, source)
    alone = for_cuda_alone(call, source) if call is not None else None
    return Finding(node, alone.verdict, alone.reason) if alone is not None else None


def _is_about_nvidia(node: ast.AST, source: Source) -> bool:
    """Whether what the call answers is compared or taken apart."""
    call = call_of(node, source)
    parent = source.parent(call) if call is not None else None
    if isinstance(parent, ast.Attribute):
        return parent.attr in _PROPERTIES
    if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
        name = parent.targets[0].id
        read = (n for n in source.nodes(ast.Attribute) if isinstance(n.value, ast.Name) and n.value.id == name)
        return any(n.attr in _PROPERTIES for n in read)
    return isinstance(parent, ast.Compare | ast.Subscript) or (
        isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Tuple)
    )


def _capability(node: ast.AST, part: str, source: Source) -> Finding:
    chip = source.target.chip
    if chip.platform.native:
        return Finding(node, "safe", "this chip has compute capability")
    if part == "get_device_capability" and chip.cuda and chip.cuda.capability:
        major, minor = chip.cuda.capability
        return Finding(node, "safe", f"{chip.title} answers ({major}, {minor})")
    return Finding(node, "needs-you", _CAPABILITY)


def _without(node: ast.AST, part: str, source: Source) -> Finding:
    """A name that the device's module lacks, or may lack."""
    if source.target.chip.platform.native:
        return Finding(node, "safe", "this chip's PyTorch has it")
    own = vendors_own(_full(part), source)
    head = part.split(".")[0]
    if own and source.target.style == "vendor":
        return Finding(node, "rewritten", "the vendor's name for it", (replace(source, node, own),), ("torch",))
    if head in SAFE:
        return Finding(node, "safe", SAFE[head])
    title = source.target.chip.title
    known = f"{title} calls it {own}" if own else f"no such name is known in the module of {title}"
    return Finding(node, "needs-you", f"{_full(part)}: {known}; {ASK.get(head, DEFAULT_STEP)}")
