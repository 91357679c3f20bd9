"""Every operator in PyTorch's dispatcher: `torch.library.opcheck`, compiled, exported, and without values.

A new operator is a row of OPERATORS: the public function, and arguments for it.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from xinqiao.ops import moe
from xinqiao.ops.dsa import dsa_attention, dsa_index
from xinqiao.ops.linear import linear_block_fp8, linear_int8
from xinqiao.ops.nsa import Branch, nsa_attention
from xinqiao.ops.rules import Choosing


def normal(*shape: int, learns: bool = True) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator).requires_grad_(learns)


def codes(*shape: int, dtype: torch.dtype = torch.float8_e4m3fn) -> torch.Tensor:
    return (normal(*shape, learns=False) * 40).to(dtype)


RULE = Choosing(blocks=4)


def nsa(q, compressed_k, compressed_v, k, v, gates):
    branch = Branch(k, v)
    return nsa_attention(q, Branch(compressed_k, compressed_v), branch, branch, gates, rule=RULE, tokens=16)


def nsa_arguments(*, learns: bool) -> list[torch.Tensor]:
    shapes = [(1, 100, 4, 16), (1, 5, 2, 16), (1, 5, 2, 16), (1, 100, 2, 16), (1, 100, 2, 16), (1, 100, 4, 3)]
    return [normal(*shape, learns=learns) for shape in shapes]


def fp8(x, weight, scale, bias):
    return linear_block_fp8(x, weight, scale, bias)


def mxfp8(x, weight, scale):
    return linear_block_fp8(x, weight, scale, block=(1, 32), activation="1x32")


def route(logits, bias):
    return moe.route(logits, bias, top_k=2, groups=2, kept_groups=1)[0]


def index(q, k, weights):
    return dsa_index(q, k, weights, top_k=4)


def attend(q, latent, choice):
    return dsa_attention(q, latent, choice, d_v=16)


def grouped_fp8(x, weight, offsets, scale):
    return moe.grouped_linear(x, weight, offsets, scale=scale)


CHOSEN = torch.tensor([[0, 2], [2, 1], [1, 0]])
OFFSETS = torch.tensor([2, 2, 7])
OPERATORS: list[tuple[Callable[..., Any], list[Any], set[str]]] = [  # and what it is in the dispatcher
    (fp8, [normal(3, 200), codes(130, 200), torch.rand(2, 2), normal(130)], {"linear_block_fp8"}),
    (mxfp8, [normal(3, 64), codes(48, 64), torch.full((48, 2), 125, dtype=torch.uint8)], {"linear_block_fp8"}),
    (linear_int8, [normal(3, 64), codes(48, 64, dtype=torch.int8), torch.rand(48), normal(48)], {"linear_int8"}),
    (nsa, nsa_arguments(learns=True), {"nsa_compressed", "nsa_selected", "nsa_window"}),
    (nsa, nsa_arguments(learns=False), {"nsa_forward"}),
    (index, [normal(1, 9, 2, 16, learns=False), normal(1, 9, 16, learns=False), normal(1, 9, 2, learns=False)],
     {"dsa_index"}),
    (attend, [normal(1, 9, 2, 32), normal(1, 9, 32), torch.randint(9, (1, 9, 4)).int()], {"dsa_attention"}),
    (route, [normal(5, 8), normal(8, learns=False)], {"moe_choose"}),
    (moe.grouped_linear, [normal(8, 32), normal(3, 16, 32), OFFSETS, normal(3, 16)], {"grouped_linear"}),
    (grouped_fp8, [normal(8, 128), codes(3, 128, 128), OFFSETS, torch.rand(3, 1, 1)], {"grouped_linear"}),
    (moe.experts, [normal(3, 32), normal(3, 2), CHOSEN, normal(3, 48, 32), normal(3, 32, 24)], {"experts"}),
]  # fmt: skip
NAMES = [function.__name__ + ("" if arguments[0].requires_grad else " without gradients")
         for function, arguments, _ in OPERATORS]  # fmt: skip
TABLE = pytest.mark.parametrize(("function", "arguments", "names"), OPERATORS, ids=NAMES)


class Calls(TorchDispatchMode):
    """The operators of this package that run, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "xinqiao":
            self.found.append((func, args))
        return func(*args, **(kwargs or {}))


def calls(function: Callable[..., Any], arguments: list[Any]) -> list[tuple[Any, tuple[Any, ...]]]:
    with Calls() as mode:
        out = function(*arguments)
        if out.requires_grad:
            out.sum().backward()
    return mode.found


def fresh(arguments: list[Any]) -> list[Any]:
    return [t.detach().clone().requires_grad_(t.requires_grad) for t in arguments]


@TABLE
def test_opcheck(function, arguments, names):
    """Schemas, shapes without values, gradients and AOT dispatch of every operator that a call and its gradient run."""
    found = calls(function, fresh(arguments))
    assert names <= {operator._schema.name.removeprefix("xinqiao::") for operator, _ in found}
    for operator, given in found:
        first = not operator._schema.name.endswith("_backward")  # gradients of gradients are not promised
        again = [
            t.detach().requires_grad_(t.requires_grad and first) if isinstance(t, torch.Tensor) else t for t in given
        ]
        tests = ["test_faketensor", "test_autograd_registration", "test_aot_dispatch_dynamic"]
        if not any(isinstance(t, torch.Tensor) and t.dtype == torch.float8_e4m3fn for t in given):
            tests.append("test_schema")  # it compares tensors by arithmetic that PyTorch has not for float8
        torch.library.opcheck(operator, tuple(again), test_utils=tests)


def gradients(arguments: list[Any]) -> list[Any]:
    return [t.grad for t in arguments if t.requires_grad]


@TABLE
def test_compiled_in_one_graph(function, arguments, names):
    """What it computes and its gradients are the same to the bit."""
    own, theirs = fresh(arguments), fresh(arguments)
    meant, found = function(*own), torch.compile(function, fullgraph=True, backend="aot_eager")(*theirs)
    assert torch.equal(meant, found)
    if meant.requires_grad:
        meant.sum().backward()
        found.sum().backward()
        for a, b in zip(gradients(own), gradients(theirs), strict=True):
            assert torch.equal(a, b)


class Wrapped(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)


@TABLE
def test_exported(function, arguments, names):
    given = [t.detach() for t in arguments]
    exported = torch.export.export(Wrapped(function), tuple(given))
    assert torch.equal(exported.module()(*given), function(*given))
    assert any("xinqiao" in str(node.target) for node in exported.graph.nodes)


@TABLE
def test_without_values(function, arguments, names):
    """On the meta device: the shapes and dtypes of results and gradients."""
    empty = [t.detach().to("meta").requires_grad_(t.requires_grad) for t in arguments]
    meant, found = function(*fresh(arguments)), function(*empty)
    assert (meant.shape, meant.dtype, found.device.type) == (found.shape, found.dtype, "meta")
    if found.requires_grad:
        found.sum().backward()
        assert [g.shape for g in gradients(empty)] == [t.shape for t in empty if t.requires_grad]
