"""A checkpoint's tensors as logical weights: codes and the scales that belong to them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from xinqiao.convert.source.entry import Entry
from xinqiao.errors import InputError
from xinqiao.native.codec import GROUPS

ELEMENT = {
    "F64": "f64",
    "F32": "f32",
    "F16": "f16",
    "BF16": "bf16",
    "F8_E4M3": "e4m3fn",
    "F8_E5M2": "e5m2",
    "I8": "int8",
    "U8": "hif8",
}
ELEMENT |= {name.upper(): name for name in GROUPS}  # GGUF's types carry their scales inside
SCALES = {"F32": "f32", "BF16": "bf16", "F16": "f16", "F8_E8M0": "e8m0", "U8": "e8m0", "I32": "int32"}
NAMES = (".weight_scale_inv", ".weight_scale", ".scale")


class Weight(msgspec.Struct, frozen=True):
    """One weight. shape: of its values. block: rows and columns of one scale (0: all)."""

    name: str
    shape: tuple[int, ...]
    element: str
    codes: Entry
    scales: Entry | None = None
    scale_encoding: str = ""
    block: tuple[int, int] = (0, 0)

    @property
    def quantised(self) -> bool:
        return self.scales is not None or self.element in GROUPS


def pair(entries: Mapping[str, Entry], config: Mapping[str, Any]) -> list[Weight]:
    scales = {}
    for name in entries:
        for suffix in NAMES:
            if name.endswith(suffix):
                scales[name.removesuffix(suffix)] = name
    used = set(scales.values())
    found = []
    for name, entry in entries.items():
        if name in used:
            continue
        stem = name.removesuffix("_packed").removesuffix(".weight")
        scale = scales.get(stem)
        if scale is None:
            found.append(Weight(name, entry.shape, ELEMENT.get(entry.dtype, ""), entry))
            continue
        s = entries[scale]
        *outer, n, k = entry.shape
        packed = name.endswith("_packed") or (entry.dtype == "I8" and s.dtype == "F8_E8M0")
        element = "e2m1" if packed else ELEMENT[entry.dtype]
        k = 2 * k if packed else k
        sn, sk = s.shape[-2:]
        block = next(
            (b for b in ((128, 128), (1, 32), (1, 0), (1, 128)) if (-(-n // b[0]), -(-k // (b[1] or k))) == (sn, sk)),
            None,
        )
        if block is None:
            raise InputError(f"{name}: the shape of {scale} fits no block")
        found.append(Weight(stem + ".weight", (*outer, n, k), element, entry, s, SCALES[s.dtype], block))
    return found
