"""Number formats: the ones that users name, and the best that the chip multiplies natively."""

from typing import NamedTuple

from xinqiao.chips.spec import Chip
from xinqiao.cost.kernel import BITS, PRODUCT
from xinqiao.cost.price import TORCH
from xinqiao.errors import InputError, nearest
from xinqiao.size.model import Model
from xinqiao.size.plan import Formats

PLAIN = ("bf16", "fp16", "fp32")  # in order of preference, for what is not quantised
STORED = tuple(name for name in BITS if name not in ("fp64", "tf32", "fp4"))
PRODUCTS = tuple(name for name in STORED if name in TORCH)  # that attention's core may run in
ONLY_WEIGHTS = ("int4", "mxfp4")  # kept small, multiplied as more bits where the chip has no such products


class Named(NamedTuple):
    """Formats that the user names; '': none."""

    weights: str = ""
    cache: str = ""
    attention: str = ""


def runs(chip: Chip, form: str) -> bool:
    """A source states a peak for its products."""
    return chip.per_device().peak(TORCH[PRODUCT.get(form, form)]) is not None


def formats(model: Model, chip: Chip, named: Named) -> tuple[Formats, list[str]]:
    """The formats of a run, and what was assumed.

    InputError where the chip does not multiply what the user names.
    """
    _check(chip, named)
    plain = next((form for form in PLAIN if runs(chip, form)), "bf16")
    weights, experts, said = named.weights, "", []
    if not weights:
        weights, experts, why = _published(model, chip, plain)
        said.append(f"weights in {weights}{f', routed experts in {experts}' if experts else ''}: {why}")
    if not named.cache:
        said.append(f"KV cache in {plain}")
    activations = ""
    if {weights, experts} & set(ONLY_WEIGHTS):
        activations = _inputs(chip, weights, plain)
    return Formats(weights, activations, named.cache or plain, named.attention or plain, experts, plain), said


def _check(chip: Chip, named: Named) -> None:
    for what, form in named._asdict().items():
        known = PRODUCTS if what == "attention" else STORED
        if form and form not in known:
            raise InputError(f"--{what} {form}: not one of {', '.join(known)}{nearest(form, known)}")
    for what, form in (("weights", named.weights), ("attention", named.attention)):
        if PRODUCT.get(form, form) in chip.lacks and form not in ONLY_WEIGHTS:
            able = ", ".join(name for name in ("fp8", "int8", "bf16", "fp16") if runs(chip, name))
            raise InputError(f"--{what} {form}: {chip.title} has no {form}; it has {able or 'no peak on file'}")


def _published(model: Model, chip: Chip, plain: str) -> tuple[str, str, str]:
    """(of linear layers, of routed experts where that differs, why)."""
    mixture = any(layer.experts for layer in model.layers)
    rest = (model.stored_rest if mixture else "") or model.stored
    weights, experts = (form if _usable(chip, form) else plain for form in (rest, model.stored))
    missing = next((form for form in (rest, model.stored) if not _usable(chip, form)), None)
    return weights, "" if experts == weights else experts, "as published" if missing is None else _why(chip, missing)


def _why(chip: Chip, form: str) -> str:
    if form not in STORED:
        return f"published in {form}, which is not priced" if form else "the published format is not known"
    product = PRODUCT.get(form, form)
    return f"the chip has no {product}" if product in chip.lacks else f"no source states the chip's {product} peak"


def _inputs(chip: Chip, weights: str, plain: str) -> str:
    """What weights of 4 bits are multiplied with: as the other linear layers, where those are kept in more."""
    if weights in ONLY_WEIGHTS:
        return "fp8" if weights == "mxfp4" and runs(chip, "fp8") else plain
    return PRODUCT.get(weights, weights)


def _usable(chip: Chip, form: str) -> bool:
    return form in ONLY_WEIGHTS or (form in STORED and runs(chip, form))
