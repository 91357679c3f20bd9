"""How far apart numbers may be and still be close."""

from collections.abc import Iterable
from math import sqrt

from xinqiao.record.schema import CallKind

EPSILON = {  # half the gap between 1 and the next number: the relative error of one rounding
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4,
    "float8_e5m2": 2.0**-3,
}
ROUNDINGS = 64  # that add up, as a random walk does, on the way through a deep model
WHY = (
    "{dtype} rounds each result by up to {epsilon:.2g}; the same sums in another order walk apart at random, "
    f"and {ROUNDINGS}² roundings on the way allow {ROUNDINGS} times that"
)


def coarsest(kinds: Iterable[CallKind]) -> str:
    """The floating dtype with the largest rounding error in which products were computed; 'float32' without any."""
    used = {k.dtype for k in kinds if k.dtype in EPSILON and "::" in k.operator}
    return max(used, key=EPSILON.__getitem__, default="float32")


def bound(dtype: str) -> float:
    """Relative distance up to which whole runs are close."""
    return ROUNDINGS * EPSILON[dtype]


def of_one_call(kind: CallKind) -> float:
    """Relative distance that one call's own rounding explains: its sums are as long as its largest input is wide."""
    longest = max((max(shape) for _, shape in kind.tensors[: kind.inputs] if shape), default=1)
    epsilon = EPSILON.get(kind.dtype, 0.0)
    return 4 * epsilon * sqrt(max(longest, 16))


def why(dtype: str) -> str:
    """The bound's reason, one sentence."""
    return WHY.format(dtype=dtype, epsilon=EPSILON[dtype])
