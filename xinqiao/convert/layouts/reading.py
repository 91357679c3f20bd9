"""A checkpoint's tensors as weights: codes, and the scales that belong to them.

Names and dtypes are those that published checkpoints have: x.weight with x.weight_scale_inv (DeepSeek-V3), x.scale
(DeepSeek-V4, whose experts are FP4, two a byte), x.weight_scale (compressed-tensors), and this package's own layouts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from xinqiao.convert.source.entry import Entry
from xinqiao.errors import InputError
from xinqiao.native.codec import GROUPS

PLAIN = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16"}
QUANTISED = {  # dtypes that mean nothing without a scale
    "F8_E4M3": "e4m3fn",
    "F8_E5M2": "e5m2",
    "F8_E4M3FNUZ": "e4m3fnuz",
    "F8_E5M2FNUZ": "e5m2fnuz",
    "F4": "e2m1",
    "I8": "int8",
}
ENCODINGS = {"F32": "f32", "BF16": "bf16", "F16": "f16", "F8_E8M0": "e8m0", "U8": "e8m0", "I32": "int32"}
_BLOCKS = ((128, 128), (1, 32), (1, 128), (1, 0), (0, 0))
Block = tuple[int, int]


class Weight(msgspec.Struct, frozen=True):
    """One weight, or any other tensor.

    shape           of its values
    element         of its codes; '' for what is no number of ours, whose bytes are copied
    block           rows and columns of one scale; 0: all of them
    scale_encoding  'f32', 'bf16', 'f16', 'e8m0', or 'int32': four e8m0 bytes a word along a row
    """

    name: str
    shape: tuple[int, ...]
    element: str
    codes: Entry
    scales: Entry | None = None
    scale_encoding: str = ""
    block: Block = (0, 0)

    @property
    def quantised(self) -> bool:
        return self.scales is not None or self.element in GROUPS


def pair(entries: Mapping[str, Entry], config: Mapping[str, Any]) -> list[Weight]:
    """Every weight, in the entries' order. InputError for codes without scales, scales without codes, or shapes that
    fit no block: what would otherwise be wrong numbers without a word."""
    scale_of = dict(_scales(entries))
    used = set(scale_of.values())
    stray = next((name for name in entries if _is_scale(name, entries) and name not in used), None)
    if stray is not None:
        raise InputError(f"{stray}: is a scale, and the weight that it belongs to is not there")
    settings = config.get("quantization_config")
    settings = settings if isinstance(settings, dict) else {}
    return [
        _weight(entry, entries.get(scale_of.get(name, "")), settings)
        for name, entry in entries.items()
        if name not in used
    ]


def _weight(entry: Entry, scales: Entry | None, settings: Mapping[str, Any]) -> Weight:
    if scales is None:
        if entry.dtype.lower() in GROUPS:
            return Weight(entry.name, entry.shape, entry.dtype.lower(), entry)
        if entry.dtype in QUANTISED and entry.name.endswith((".weight", "_packed")):
            raise InputError(f"{entry.name}: is {entry.dtype}, and its scale is not there")
        return Weight(entry.name, entry.shape, PLAIN.get(entry.dtype, ""), entry)
    if scales.dtype not in ENCODINGS:
        raise InputError(f"{scales.name}: a scale of dtype {scales.dtype} is not read")
    element = _element(entry, scales, settings)
    shape = (*entry.shape[:-1], entry.shape[-1] * 2) if element == "e2m1" and entry.dtype != "F4" else entry.shape
    encoding = ENCODINGS[scales.dtype]
    block = _block(entry.name, shape, scales, settings)
    return Weight(entry.name.removesuffix("_packed"), shape, element, entry, scales, encoding, block)


def _element(entry: Entry, scales: Entry, settings: Mapping[str, Any]) -> str:
    """What the codes are. Bytes that are FP4 pairs are known by their name, or by E8M0 scales for 32 values."""
    if entry.name.endswith("_packed"):
        return "e2m1"
    if entry.dtype in ("I8", "U8") and scales.dtype == "F8_E8M0" and entry.shape[-1] == 16 * scales.shape[-1]:
        return "e2m1"
    if entry.dtype == "U8" and settings.get("quant_method") == "hif8":
        return "hif8"
    if entry.dtype not in QUANTISED:
        raise InputError(f"{entry.name}: is {entry.dtype} with a scale ({scales.name}), which is not known here")
    return QUANTISED[entry.dtype]


def _block(name: str, shape: tuple[int, ...], scales: Entry, settings: Mapping[str, Any]) -> Block:
    """The block that the scale's shape allows; the configuration's where it says one."""
    stated = settings.get("weight_block_size")
    if isinstance(stated, list) and len(stated) == 2 and all(type(n) is int and n >= 0 for n in stated):
        candidates: tuple[Block, ...] = ((stated[0], stated[1]), *_BLOCKS)
    else:
        candidates = _BLOCKS
    fitting = [block for block in candidates if _fits(block, shape, scales)]
    if not fitting:
        raise InputError(f"{scales.name}: its shape {list(scales.shape)} fits no block of {name} {list(shape)}")
    return fitting[0]


def _fits(block: Block, shape: tuple[int, ...], scales: Entry) -> bool:
    *stack, rows, columns = (1, *shape)[-max(2, len(shape)) :]
    grid = (-(-rows // (block[0] or rows or 1)), -(-columns // (block[1] or columns or 1)))
    if scales.dtype == "I32":
        grid = (grid[0], -(-grid[1] // 4))
    found = scales.shape
    if block == (1, 0) and found == (*stack, rows):
        return True
    if block == (0, 0) and found in ((), (1,)) and not stack:
        return True
    return found == (*stack, *grid)


def _scales(entries: Mapping[str, Entry]) -> Iterator[tuple[str, str]]:
    """(weight, its scale) by their names."""
    for name in entries:
        stem = name.removesuffix("_packed")
        for scale in (f"{stem}_scale_inv", f"{stem}_scale", f"{stem.removesuffix('.weight')}.scale"):
            if scale in entries and scale != name:
                yield name, scale
                break


def _is_scale(name: str, entries: Mapping[str, Entry]) -> bool:
    """Whether a name is a quantised weight's scale by its form."""
    return name.endswith((".weight_scale_inv", ".weight_scale")) or (
        name.endswith(".scale") and entries[name].dtype == "F8_E8M0"
    )
