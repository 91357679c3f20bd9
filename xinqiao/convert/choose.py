"""The best format that a chip multiplies natively."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from xinqiao.chips.spec import Chip
from xinqiao.errors import InputError


class Choice(NamedTuple):
    """A layout's name and the reason, one sentence."""

    layout: str
    reason: str


# From the best to the last: what the chip must multiply, the layout, and why it comes before those below it.
_ORDER = (
    ("mxfp8", "mxfp8", "it multiplies MXFP8, which holds UE8M0 block FP8 exactly"),
    ("fp8_e4m3fn", "fp8-ue8m0", "it multiplies FP8 e4m3, and power-of-two scales cost nothing over F32 ones"),
    ("int8", "int8-channel", "it multiplies INT8, in half the memory of BF16"),
    ("bf16", "bf16", "it multiplies BF16"),
    ("fp16", "fp16", "it multiplies FP16"),
)


def choose(chip: Chip, config: Mapping[str, Any]) -> Choice:
    """Of the formats that this chip is known to multiply natively. InputError where none is known.

    config: the source's config.json. FP8 with F32 scales keeps them where the chip multiplies FP8: made powers of two,
    its weights would be rounded a second time.
    """
    for number, (native, layout, reason) in enumerate(_ORDER):
        if native in chip.formats:
            missing = [name for name, *_ in _ORDER[:number] if name not in chip.formats]
            lacking = f"; {' and '.join(_state(chip, name) for name in missing)}" if missing else ""
            if layout == "fp8-ue8m0" and _has_f32_scales(config):
                layout, reason = "fp8-block", "it multiplies FP8 e4m3, and the source's F32 scales lose nothing"
            return Choice(layout, f"{chip.title}: {reason}{lacking}")
    raise InputError(f"{chip.name}: its number formats are not known; say which: --to FORMAT")


def _has_f32_scales(config: Mapping[str, Any]) -> bool:
    settings = config.get("quantization_config")
    if not isinstance(settings, dict):
        return False
    return settings.get("quant_method") == "fp8" and settings.get("scale_fmt") != "ue8m0"


def _state(chip: Chip, name: str) -> str:
    """'no fp8_e4m3fn' where the chip file says so, or that it is not known to have it."""
    lacks = any(name.startswith(key) or (key == "fp8" and "fp8" in name) for key in chip.lacks)
    return f"no {name}" if lacks else f"{name} is not known of it"
