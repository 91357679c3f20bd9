"""How the scale of a block is chosen from its largest magnitude, and how scales are stored."""

import math

import torch
from torch import Tensor

from xinqiao.formats.elements import ELEMENTS, decode, encode

# Each in words; docs/formats.md has a picture.
RULES = {
    "ceil": "the smallest power of two that lets the largest magnitude fit; nothing saturates (DeepSeek, DeepGEMM)",
    "floor": "the power of two of the largest magnitude's exponent; the top of its binade saturates (OCP MX 1.0)",
    "even": "as floor, after rounding the largest magnitude to the element's mantissa (torchao's EVEN)",
    "nearest": "the nearest power of two; more than half of all blocks saturate: only to show what a plain cast does",
}
LEAST = 1e-4  # DeepSeek's and DeepGEMM's floor under the largest magnitude of a block of floats
TALLEST = {"hif8": 15.0}  # where a block's largest magnitude is put, if not at the format's largest value
ENCODINGS = ("f32", "bf16", "e8m0")  # and packed in int32: pack_int32


def top(element: str) -> float:
    """What a block's largest magnitude is scaled to. HiF8 is finest around 1: 15 has its last full mantissa."""
    return TALLEST.get(element, ELEMENTS[element].largest)


def power_of_two(amax: Tensor, element: str, rule: str) -> Tensor:
    """Scale bytes (e8m0, int64) of blocks whose largest magnitudes are `amax` (fp32, finite)."""
    largest = ELEMENTS[element].largest
    exponent = math.floor(math.log2(largest))
    bits = amax.contiguous().view(torch.int32).to(torch.int64)
    if rule == "ceil":
        quotient = (amax.clamp_min(LEAST) / largest).view(torch.int32).to(torch.int64)
        return ((quotient >> 23) + ((quotient & 0x7FFFFF) != 0)).clamp(1, 254)
    if rule == "nearest":
        return encode(amax / largest, "e8m0").clamp(max=254)
    if rule == "even":
        bits = bits + (1 << (22 - ELEMENTS[element].mantissa))
    elif rule != "floor":
        raise ValueError(f"no rule {rule!r}")
    return ((bits >> 23) - exponent).clamp(0, 254)


def ratio(amax: Tensor, element: str, precision: str) -> Tensor:
    """fp32 scales that bring `amax` to the format's top. precision: 'f32', or 'bf16' for scales rounded to that."""
    if element in ("int8", "int4"):
        found = torch.where(amax == 0, 1.0, amax / top(element))
    else:
        found = amax.clamp_min(LEAST) / top(element)
    return found.bfloat16().float() if precision == "bf16" else found


def store(scales: Tensor, encoding: str) -> Tensor:
    """fp32 scales as a checkpoint has them: float32, bfloat16, or uint8 for e8m0. ValueError where that loses any."""
    if encoding not in ENCODINGS:
        raise ValueError(f"no encoding {encoding!r}")
    if encoding == "f32":
        return scales
    stored = scales.bfloat16() if encoding == "bf16" else encode(scales, "e8m0").to(torch.uint8)
    if not torch.equal(load(stored, encoding), scales):
        raise ValueError(f"these scales are not all {'powers of two' if encoding == 'e8m0' else encoding}")
    return stored


def load(stored: Tensor, encoding: str) -> Tensor:
    """fp32 scales from a checkpoint's tensor. ValueError for an encoding that is none of ENCODINGS."""
    if encoding not in ENCODINGS:
        raise ValueError(f"no encoding {encoding!r}")
    if encoding == "e8m0":
        return decode(stored.view(torch.uint8), "e8m0")
    return stored.float()


def pack_int32(codes: Tensor) -> Tensor:
    """Scale bytes [mn, k] as DeepGEMM's SM100 kernels take them: int32 [mn, ceil(k / 4)], four along k in a word.

    The first byte is the lowest. Strides are those that TMA wants: mn is the fast dimension, and each column begins at
    a multiple of 16 bytes. Source: DeepGEMM csrc/utils/layout.hpp.
    """
    rows, columns = codes.shape
    words, aligned = -(-columns // 4), -(-rows // 4) * 4
    padded = torch.zeros(aligned, words * 4, dtype=torch.uint8)
    padded[:rows, :columns] = codes
    return padded.view(torch.int32).T.contiguous().T[:rows]


def unpack_int32(packed: Tensor, columns: int) -> Tensor:
    """Scale bytes [mn, columns] of packed int32 [mn, ceil(columns / 4)], whatever its strides."""
    return packed.contiguous().view(torch.uint8)[:, :columns]


def factor(scales: Tensor) -> tuple[float, Tensor] | None:
    """(c, e8m0 bytes) where every fp32 scale is c times a power of two, exactly, with one c in [1, 2); None otherwise.

    Scales of one projection of a published checkpoint are all 1.32287561893 times a power of two.
    """
    mantissas, exponents = torch.frexp(scales.double())
    c = 2 * float(mantissas.max()) if scales.numel() else 1.0
    codes = exponents - 1 + 127
    whole = bool((mantissas * 2 == c).all()) and bool(((codes >= 0) & (codes <= 254)).all())
    return (c, codes.to(torch.uint8)) if whole and 1 <= c < 2 else None
