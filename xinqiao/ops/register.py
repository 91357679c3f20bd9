"""Operators in PyTorch's dispatcher, as `torch.ops.xinqiao.<name>`.

They have shapes, for `torch.compile`, `torch.export` and runs without values, and gradients.

A virtual chip has no implementation of its own: its device hands every operator to the processor's, and counts it as
one.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

LIBRARY = torch.library.Library("xinqiao", "DEF")
# A build for CUDA has real devices; any other runs virtual ones under this key, which must not be taken. The build's
# own words are asked, since PyTorch's flags answer for a virtual device as for a real one.
_GPU = any(words in torch.__config__.show() for words in ("CUDA Runtime", "HIP Runtime"))
KEYS = ("CPU", "CUDA") if _GPU else ("CPU",)


class Context(Protocol):
    """What a forward leaves for its backward. options: what is no tensor."""

    saved_tensors: tuple[Any, ...]
    options: tuple[Any, ...]

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...
    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...


def operator(
    schema: str,
    run: Callable[..., Any],
    shapes: Callable[..., Any],
    *,
    keep: Callable[..., None] | None = None,
    backward: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Define `schema` and return the operator.

    run       computes it; picks the back end
    shapes    the same call with tensors that have no values: empty tensors of the results' shapes
    keep      (ctx, inputs, output): saves for `backward` what it needs
    backward  (ctx, *gradients of the outputs) -> the inputs' gradients
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.needs_exact_strides, torch.Tag.pt2_compliant_tag))
    for key in KEYS:
        LIBRARY.impl(name, run, key)
    torch.library.register_fake(f"xinqiao::{name}", shapes, lib=LIBRARY)
    if backward:
        torch.library.register_autograd(f"xinqiao::{name}", backward, setup_context=keep, lib=LIBRARY)
    found: Callable[..., Any] = getattr(torch.ops.xinqiao, name).default
    return found


def unwatched(*tensors: Tensor | None) -> bool:
    """Whether a kernel can be called as it is: nothing records, differentiates, traces or replaces operators.

    PyTorch's dispatcher, which does all that, takes longer than an operator of a few tokens does.
    """
    differentiates = torch.is_grad_enabled()
    for t in tensors:  # no generator: this is most of what a layer of one token takes
        if t is not None and (type(t) not in _PLAIN or not t.is_cpu or (differentiates and t.requires_grad)):
            return False
    return (
        not torch.compiler.is_compiling()
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._len_torch_function_stack()
        and not torch._C._is_tracing()
        and torch._C._functorch.peek_interpreter_stack() is None
    )


_PLAIN = (Tensor, torch.nn.Parameter)
