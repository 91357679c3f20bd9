"""What a user should know of one converted weight, in a sentence."""

from math import inf

from xinqiao.convert.layouts import LAYOUTS, Layout
from xinqiao.convert.layouts.reading import Weight
from xinqiao.convert.plan import Job


def source_words(weight: Weight) -> str:
    """'bf16', or 'e4m3fn 128x128 f32': element, block and encoding of the scales."""
    if weight.scales is None:
        return weight.element
    rows, columns = weight.block
    return f"{weight.element} {rows or 'all'}x{columns or 'all'} {weight.scale_encoding}"


def note(job: Job, how: str, sqnr_db: float) -> str:
    """Empty where the conversion is the best that this source allows.

    A quantised source that is quantised again loses more than the same format made from the original weights (3 dB
    where the format is its own), and it can always be kept: in its own blocks, or as bf16.
    """
    weight = job.weight
    if how != "converted" or sqnr_db == inf or not weight.quantised or not LAYOUTS[job.layout].scale:
        return ""
    better = [name for name, layout in LAYOUTS.items() if _loses_nothing(weight, layout)]
    advice = f"{better[0]} would keep its codes" if better else "bf16 would be nearer"
    less = "3 dB less" if LAYOUTS[job.layout].element == weight.element else "less"
    return (
        f"quantised a second time: {sqnr_db:.1f} dB from this source; {advice}, and made from the original weights "
        f"it would lose {less}"
    )


def _loses_nothing(weight: Weight, layout: Layout) -> bool:
    return layout.scale == "f32" and layout.element == weight.element and layout.block == weight.block
