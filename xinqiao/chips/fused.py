"""Does a chip's vendor have one kernel for one of `xinqiao.ops`' operators, and does it take these sizes?"""

from collections.abc import Mapping
from typing import NamedTuple

from xinqiao.chips.spec import Chip, Fused


class Fit(NamedTuple):
    """kernel: the vendor's; None: the operator is several smaller ones. missed: its kernel that takes other sizes."""

    kernel: Fused | None = None
    missed: Fused | None = None
    broken: tuple[str, ...] = ()  # its limits


def kernel(chip: Chip, operator: str) -> Fused | None:
    """The vendor's kernel on this chip for an operator such as 'nsa_selected'."""
    rows = chip.platform.fused
    return next((f for f in rows if f.operator == operator and {chip.name, chip.base} & set(f.chips)), None)


def fit(chip: Chip, operator: str, dtype: str, sizes: Mapping[str, int]) -> Fit:
    """Whether the operator at this dtype and these sizes is the vendor's kernel."""
    found = kernel(chip, operator)
    if found is None:
        return Fit()
    broken = [] if dtype in found.dtypes else [f"{dtype} (it takes {', '.join(found.dtypes)})"]
    broken += [
        f"{size} {sizes[size]} (it takes {', '.join(map(str, values))})"
        for size, values in found.only.items()
        if sizes[size] not in values
    ]
    broken += [f"{size} {sizes[size]} (at most {most})" for size, most in found.most.items() if sizes[size] > most]
    return Fit(missed=found, broken=tuple(broken)) if broken else Fit(found)
