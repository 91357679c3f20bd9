"""A checkpoint's tensors as logical weights: codes and the scales that belong to them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from xinqiao.convert.layouts.blocks import Codes, block_of, hints
from xinqiao.convert.layouts.refusals import check_offsets, refuse_unknown
from xinqiao.convert.source.entry import Entry
from xinqiao.errors import InputError
from xinqiao.native.codec import GROUPS

FLOATS = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16"}
PLAIN = FLOATS | {name.upper(): name for name in GROUPS}  # GGUF's types carry their scales inside
NARROW = ("F8_E4M3", "F8_E5M2", "F4", "F6_E2M3", "F6_E3M2", "I8", "U8")  # without scales these are no weights
SCALES = {"F32": "f32", "BF16": "bf16", "F16": "f16", "F8_E8M0": "e8m0", "U8": "e8m0", "I32": "int32"}
ENDINGS = (  # what replaces '.weight', or follows the name of a parameter that has no '.weight', in its scales' name
    ".weight_scale_inv",  # DeepSeek-V3, transformers, vLLM, SGLang
    ".weight_scale",  # compressed-tensors
    ".scale",  # DeepSeek-V4
    "_scale_inv",  # transformers' experts in one tensor
)


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
    """The weights, in the order of their codes. element '' for tensors that are no numbers of a known format.

    InputError, naming the tensor, for codes without a scale, a scale without codes, a scale whose shape fits no block
    or several, and for packings of other formats.
    """
    refuse_unknown(entries)
    scales = _scales(entries)
    taken = {entry.name for entry in scales.values()} | check_offsets(entries)
    blocks = hints(config)
    return [
        _scaled(entry, scales[name], blocks) if name in scales else _plain(entry)
        for name, entry in entries.items()
        if name not in taken
    ]


def _scales(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Name of codes → their scale."""
    found: dict[str, Entry] = {}
    for name, scale in entries.items():
        ending = next((ending for ending in ENDINGS if name.endswith(ending)), "")
        if not ending:
            continue
        codes = _codes(entries, name.removesuffix(ending), ending)
        if codes is None or codes.dtype in PLAIN:
            if _no_scale(scale, ending):
                continue
            raise InputError(f"{name}: a scale whose weight is {'not quantised' if codes else 'missing'}")
        if codes.name in found:
            raise InputError(f"{codes.name}: has two scales, {found[codes.name].name} and {name}")
        found[codes.name] = scale
    return found


def _codes(entries: Mapping[str, Entry], stem: str, ending: str) -> Entry | None:
    names = (stem,) if ending.startswith("_") else (f"{stem}.weight", f"{stem}.weight_packed")
    return next((entries[name] for name in names if name in entries), None)


def _no_scale(entry: Entry, ending: str) -> bool:
    """Whether it is a parameter of its own: some models have vectors that are called `scale`."""
    return ending == ".scale" and len(entry.shape) < 2 and entry.dtype in FLOATS


def _plain(entry: Entry) -> Weight:
    if entry.dtype in NARROW and (entry.dtype.startswith("F") or entry.name.endswith(".weight")):
        raise InputError(f"{entry.name}: {entry.dtype} without a scale")
    return Weight(entry.name, entry.shape, PLAIN.get(entry.dtype, ""), entry)


def _scaled(codes: Entry, scale: Entry, blocks: list[tuple[int, int]]) -> Weight:
    encoding = SCALES.get(scale.dtype)
    if encoding is None:
        raise InputError(f"{scale.name}: scales in {scale.dtype} are not read; {', '.join(SCALES)} are")
    if len(codes.shape) < 2:
        raise InputError(f"{codes.name}: has a scale, but the shape {list(codes.shape)} is no matrix's")
    found = [
        (element, shape, block)
        for element, shape in _elements(codes, encoding)
        if (block := block_of(Codes(codes.name, shape), scale, encoding, blocks)) is not None
    ]
    if len(found) != 1:
        what = "several kinds of blocks" if found else "no block"
        raise InputError(
            f"{codes.name}: {codes.dtype} {list(codes.shape)} with {scale.name}, {scale.dtype} {list(scale.shape)}, "
            f"fits {what} that is known here"
        )
    element, shape, block = found[0]
    name = codes.name.removesuffix("_packed") if codes.name.endswith(".weight_packed") else codes.name
    return Weight(name, shape, element, codes, scale, encoding, block)


def _elements(codes: Entry, encoding: str) -> list[tuple[str, tuple[int, ...]]]:
    """(element, shape of the values) that codes of this dtype may have."""
    *outer, columns = codes.shape
    two_a_byte = ("e2m1", (*outer, 2 * columns))
    whole = {"F8_E4M3": "e4m3fn", "F8_E5M2": "e5m2", "F4": "e2m1"}.get(codes.dtype)
    if whole:
        return [(whole, codes.shape)]
    if codes.dtype == "I8" and not codes.name.endswith("_packed"):
        return [("int8", codes.shape)] if encoding != "e8m0" else [("int8", codes.shape), two_a_byte]
    if codes.dtype in ("U8", "I8"):
        return [two_a_byte] if encoding == "e8m0" else [("hif8", codes.shape)]
    return []
