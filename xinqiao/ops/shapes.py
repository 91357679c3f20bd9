"""Arguments checked against patterns: one line says which argument is wrong, and what was expected."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xinqiao.errors import InputError


class Sizes:
    """The sizes that an operator's dimensions have, by name, as its arguments are checked one after the other."""

    def __init__(self, operator: str) -> None:
        self.operator = operator
        self.found: dict[str, tuple[int, str]] = {}
        self.device: tuple[torch.device, str] | None = None

    def check(self, name: str, value: Tensor, pattern: str, dtypes: Sequence[torch.dtype] = ()) -> None:
        """InputError where `value` does not fit.

        pattern  names of dimensions, 'batch key heads d'; the same name is the same size in every argument, a number is
                 itself, and '...' at the beginning is any number of dimensions
        dtypes   those accepted; none: any
        """
        names = pattern.split()
        free = names[0] == "..."
        shape = list(value.shape)
        if free and len(shape) >= len(names) - 1:
            names = names[1:]
            shape = shape[len(shape) - len(names) :]
        if len(shape) != len(names) or any(not self._fits(n, size, name) for n, size in zip(names, shape, strict=True)):
            raise InputError(
                f"{self.operator}: {name} has shape {list(value.shape)}, expected {self._expected(pattern)}"
            )
        if dtypes and value.dtype not in dtypes:
            known = ", ".join(str(d).removeprefix("torch.") for d in dtypes)
            raise InputError(f"{self.operator}: {name} is {str(value.dtype).removeprefix('torch.')}, expected {known}")
        if self.device is None:
            self.device = (value.device, name)
        elif value.device != self.device[0]:
            where, first = self.device
            raise InputError(f"{self.operator}: {name} is on {value.device}, expected {where}, where {first} is")

    def __getitem__(self, name: str) -> int:
        return self.found[name][0]

    def _fits(self, name: str, size: int, argument: str) -> bool:
        if name.isdigit():
            return size == int(name)
        return self.found.setdefault(name, (size, argument))[0] == size

    def _expected(self, pattern: str) -> str:
        known = [f"{n} = {self.found[n][0]} (of {self.found[n][1]})" for n in pattern.split() if n in self.found]
        return f"[{', '.join(pattern.split())}]" + (f" with {', '.join(dict.fromkeys(known))}" if known else "")
