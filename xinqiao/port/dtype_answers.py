"""What a chip answers to a dtype or to an operator at a dtype, as a verdict of a port."""

from typing import NamedTuple

from xinqiao.chips.spec import DTYPES, Chip
from xinqiao.chips.support import Answer, support
from xinqiao.record.schema import Verdict

_PROBES = ("aten::add.Tensor", "aten::mul.Tensor", "aten::div.Tensor", "aten::mm", "aten::sum.dim_IntList")
_WIDE = "compute it in float32, or on the CPU"
_STEPS = {
    "float64": _WIDE,
    "complex128": "compute it in complex64 or in pairs of float32, or on the CPU",
    "complex64": "compute it in pairs of float32, or on the CPU",
    "complex32": "compute it in complex64, or on the CPU",
}
_LOW = "convert the weights to a format that the chip has, or compute in bfloat16"
ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "cdouble": "complex128",
    "cfloat": "complex64",
    "chalf": "complex32",
}
WATCHED = frozenset(
    d for d in DTYPES if d.startswith(("float64", "complex", "float8", "float4", "uint")) and d != "uint8"
)


class Said(NamedTuple):
    verdict: Verdict
    reason: str


def about_dtype(dtype: str, chip: Chip, operator: str = "") -> Said | None:
    """The verdict on tensors of a dtype on the device; None where nothing is to be said.

    operator   what is computed with the tensor right there ('aten::mul.Tensor'), where that is known
    """
    state, title = chip.dtypes.state(dtype), chip.title
    step = _STEPS.get(dtype, _LOW if dtype.startswith(("float8", "float4")) else "use int32 or int64")
    if state == "native" or (state != "refused" and chip.platform.native):
        return None
    if state == "refused":
        return Said("refused-by-chip", f"{title} refuses {dtype}: {step} ({chip.dtypes.source})")
    here = support(chip, operator, dtype) if operator else None
    if here is not None and here.state == "refused":
        return Said("refused-by-chip", f"{title} has no {_short(operator)} in {dtype}: {step} ({_source(here)})")
    if state == "unknown":
        return Said("needs-you", f"no source says whether {title} has {dtype}: try it there, or {step}")
    answers = {name: support(chip, name, dtype) for name in _PROBES}
    lacking = [name for name, answer in answers.items() if answer.state in ("refused", "fallback")]
    without = f", not {', '.join(map(_short, lacking))} ({_source(answers[lacking[0]])})" if lacking else ""
    return Said("needs-you", f"{title} has some operators in {dtype}{without}: look at what is computed, or {step}")


def _short(operator: str) -> str:
    return operator.removeprefix("aten::").partition(".")[0]


def about_operator(name: str, operator: str, dtype: str, chip: Chip) -> Said | None:
    """The verdict on a function of PyTorch that computes by `operator`; None where the chip has it."""
    if chip.platform.native:
        return None
    answer, title, step = support(chip, operator, dtype), chip.title, _STEPS["complex64"]
    if answer.state == "native":
        return None
    if answer.state == "refused":
        return Said("refused-by-chip", f"{title} has no {name} in {dtype}: {step} ({_source(answer)})")
    if answer.state == "fallback":
        return Said("needs-you", f"{name} runs on the host of {title}, slowly: {step}")
    return Said("needs-you", f"it is not known whether {title} has {name}: try it there, or {step}")


def _source(answer: Answer) -> str:
    return ", ".join(part for part in (answer.source, answer.version) if part)
