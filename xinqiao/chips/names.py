"""The names of aten operators: 'aten::add_.Tensor' is operator add, overload Tensor, in place."""

import re

_IN_PLACE_DUNDER = re.compile(r"__i(\w+)__")  # __ilshift__ is __lshift__ in place


def base(operator: str) -> str:
    """The operator that a variant belongs to, without namespace, overload and in-place mark.

    'aten::add_.Tensor' and 'aten::add.out' -> 'add'; 'aten::gelu_backward.grad_input' -> 'gelu_backward'.
    A backward operator stays itself: chips have kernels for it, or not, apart from the forward one.
    """
    name = operator.removeprefix("aten::").partition(".")[0]
    if dunder := _IN_PLACE_DUNDER.fullmatch(name):
        return f"__{dunder[1]}__"
    if not name.endswith("__"):
        name = name.removesuffix("_")
    return name.removesuffix("_functional")


def family(operator: str) -> str:
    """The functional overload that a variant computes: 'add_.Tensor' -> 'add.Tensor', 'mm.out' -> 'mm'.

    Right for names that follow the rule; the exceptions ('add.out' is 'add.Tensor') are data in torch.json.
    """
    overload = operator.partition(".")[2]
    overload = "" if overload == "out" else overload.removesuffix("_out")
    return f"{base(operator)}.{overload}".removesuffix(".")
