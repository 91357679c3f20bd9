"""Captured graphs: `torch.cuda.CUDAGraph`, `torch.cuda.graph`, `make_graphed_callables`.

What it does: in the vendor style the vendor's names take their place. In the agnostic style the functions that the
device's module has come from there; `CUDAGraph()` itself needs you, because each vendor has its own class.
Why: capture is the vendor's; `torch.accelerator.Graph` (torch 2.13) captures on the current stream and takes the pool
when it is made, so it is not the same object.
Unsafe when: the chip's capture refuses operators that CUDA's takes.
Source: torch 2.13 torch/cuda/graphs.py and torch/accelerator/graphs.py; the vendors' modules (chips/platforms).

    if torch.cuda.is_current_stream_capturing():
    →  if ACCELERATOR_MODULE.is_current_stream_capturing():
"""

import ast
from collections.abc import Iterator

from xinqiao.port.cuda_names import OTHER_RULES
from xinqiao.port.cuda_uses import CUDA, ask, is_guarded, is_written_to, part_of
from xinqiao.port.dialect import ACCELERATOR, MODULE, module, vendors_own
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Source

_GRAPH = (
    "PyTorch has torch.accelerator.Graph(pool=...) for `with stream, graph:`, from version 2.13; "
    "or run without a graph where ACCELERATOR != 'cuda'"
)
_LAZY = "it asks CUDA's graphs only: run without a graph where ACCELERATOR != 'cuda'"


@rule(ast.Attribute, ast.Name, ast.Call, named=True)
def use(node: ast.AST, source: Source) -> Iterator[Finding]:
    part = part_of(node, source)
    if part is None or OTHER_RULES.get(part.split(".")[0]) != "graphs":
        return
    name = part.removeprefix("graphs.")
    own = vendors_own(f"{CUDA}.{name}", source)
    known = name in source.target.chip.platform.module
    if is_guarded(node, source):
        yield Finding(node, "safe", "it runs only where the accelerator is CUDA")
    elif is_written_to(node, source):
        yield ask(node, f"{CUDA}.{name} is replaced here; do the same for the device's own module", source)
    elif source.target.style == "vendor" and own:
        yield Finding(node, "rewritten", "the vendor's name for it", (replace(source, node, own),), ("torch",))
    elif known and name != "graphs":
        edit = replace(source, node, module(name, source))
        yield Finding(node, "rewritten", "the device's own module has it", (edit,), (ACCELERATOR, MODULE))
    elif name == "CUDAGraph":
        yield ask(node, f"{_title(own, source)}; {_GRAPH}", source)
    else:
        yield ask(
            node, f"{CUDA}.{name}: no such name is known in the module of {source.target.chip.title}; {_LAZY}", source
        )


def _title(own: str, source: Source) -> str:
    title = source.target.chip.title
    return f"{title} calls it {own}" if own else f"no graph of {title} is known"
