"""Number formats: the ones that users name, and the best that the chip multiplies natively."""

from xinqiao.chips.spec import Chip
from xinqiao.cost.kernel import BITS, PRODUCT
from xinqiao.cost.price import TORCH
from xinqiao.errors import InputError, nearest
from xinqiao.size.model import Model
from xinqiao.size.plan import Formats

PLAIN = ("bf16", "fp16", "fp32")  # in order of preference, for what is not quantised
STORED = tuple(name for name in BITS if name not in ("fp64", "tf32", "fp4"))
ONLY_WEIGHTS = ("int4", "mxfp4")  # kept small, multiplied as 16 bits where the chip has no such products


def runs(chip: Chip, form: str) -> bool:
    """A source states a peak for its products."""
    return chip.per_device().peak(TORCH[PRODUCT.get(form, form)]) is not None


def formats(model: Model, chip: Chip, weights: str, cache: str, attention: str) -> tuple[Formats, list[str]]:
    """The formats of a run, and what was assumed. '': not named by the user.

    InputError where the chip does not multiply what the user names.
    """
    said = []
    plain = next((form for form in PLAIN if runs(chip, form)), "bf16")
    if not weights:
        weights = model.stored if model.stored in STORED and _usable(chip, model.stored) else plain
        why = "as published" if weights == model.stored else f"the chip runs no {model.stored or 'format that is known'}"
        said.append(f"weights in {weights}: {why}")
    for what, form in (("weights", weights), ("cache", cache), ("attention", attention)):
        if form and form not in STORED:
            raise InputError(f"--{what}: '{form}'{nearest(form, STORED)}; one of {', '.join(STORED)}")
    for what, form in (("weights", weights), ("attention", attention)):
        if form and PRODUCT.get(form, form) in chip.lacks and form not in ONLY_WEIGHTS:
            able = [name for name in ("int8", "fp8", "bf16", "fp16") if runs(chip, name)]
            raise InputError(f"--{what} {form}: {chip.title} has no {form}; it has {', '.join(able)}")
    if not cache:
        cache = plain
        said.append(f"KV cache in {cache}")
    activations = "" if weights not in ONLY_WEIGHTS else _inputs(chip, weights, plain)
    return Formats(weights, activations, cache, attention or plain, "", plain), said


def _inputs(chip: Chip, weights: str, plain: str) -> str:
    """What weights of 4 bits are multiplied with."""
    eight = weights == "mxfp4" and runs(chip, "fp8")
    return "fp8" if eight else plain


def _usable(chip: Chip, form: str) -> bool:
    return form in ONLY_WEIGHTS or runs(chip, form)
