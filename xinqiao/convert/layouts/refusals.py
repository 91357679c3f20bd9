"""What is refused by name, since read as anything else it would be silently wrong."""

from collections.abc import Mapping
from typing import Final

from xinqiao.convert.source.entry import Entry
from xinqiao.errors import InputError

_PACKINGS: Final = {  # how a tensor's name ends → what it belongs to
    ".qweight": "GPTQ or AWQ",
    ".qzeros": "GPTQ or AWQ",
    ".weight_g_idx": "GPTQ or AWQ",
    ".absmax": "bitsandbytes",
    ".quant_map": "bitsandbytes",
    ".SCB": "bitsandbytes",
    ".weight_global_scale": "NVFP4",
    ".weight_scale_2": "NVFP4",
    ".weight_bitmask": "a sparse packing",
    "_proj_blocks": "MXFP4 in transposed experts",  # gpt-oss
}
_ZEROS = (".weight_offset", ".weight_zero_point")
_MOST = 64 << 20  # bytes of zeros that are looked at


def refuse_unknown(entries: Mapping[str, Entry]) -> None:
    """InputError that names the first tensor of a packing that is not read."""
    for name, entry in entries.items():
        found = next((words for ending, words in _PACKINGS.items() if name.endswith(ending)), "")
        if name.endswith(".weight_packed") and entry.dtype == "I32":
            found = "integers packed in I32"
        if found:
            raise InputError(f"{name}: {found}, which is not read; convert from the original weights")


def check_offsets(entries: Mapping[str, Entry]) -> set[str]:
    """Names of the offsets that loaders of symmetric weights want beside the scales, and that are zero.

    InputError for one that is not: its weight's values are not codes times scales.
    """
    found = set()
    for name, entry in entries.items():
        ending = next((ending for ending in _ZEROS if name.endswith(ending)), "")
        if not ending or f"{name.removesuffix(ending)}.weight" not in entries:
            continue
        with entry.file.open("rb") as file:
            file.seek(entry.offset)
            data = file.read(min(entry.nbytes, _MOST + 1))
        if len(data) > _MOST or data.strip(b"\0"):
            raise InputError(f"{name}: is not zero; weights with offsets are not read")
        found.add(name)
    return found
