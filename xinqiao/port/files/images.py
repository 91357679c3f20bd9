"""Container images that are made for CUDA."""

import re

from xinqiao.port.files.advice import OWN_MAKER, Advice, is_cudas_own, needs_you
from xinqiao.port.files.known import known
from xinqiao.port.target import Target

_IMAGE = re.compile(r"[\w.${}-]+(?:[:/][\w.${}:@-]+)+|[\w.-]+")


def is_for_cuda(image: str) -> bool:
    """Whether an image's name says that it is made for CUDA."""
    name = image.lower()
    marks = known().images
    return bool(_IMAGE.match(image)) and any(
        mark[1:] in name if mark.startswith("*") else name.startswith(mark) or f"/{mark}" in name for mark in marks
    )


def advice(image: str, target: Target) -> Advice | None:
    """What becomes of an image; `text` is the vendor's. None where it is not made for CUDA."""
    if not is_for_cuda(image):
        return None
    if is_cudas_own(target):
        return OWN_MAKER
    vendors = target.chip.platform.image
    if not vendors:
        return needs_you("an image for CUDA: start from this chip's vendor's image")
    if target.style == "vendor" and not target.audit:
        return Advice("rewritten", "the vendor's own image; choose its tag by your chip and driver", vendors)
    return needs_you(f"an image for CUDA: on this chip start from {vendors}")
