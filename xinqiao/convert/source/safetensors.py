"""The header of a safetensors file, read and checked to the last byte; https://github.com/huggingface/safetensors"""

import json
import math
from pathlib import Path
from typing import Any

from xinqiao.convert.source.entry import Entry
from xinqiao.errors import InputError

MOST_BYTES = 100_000_000  # of a header, as the format's own reader allows
MOST_TENSORS = 2_000_000
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **{"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4},
}


def read_header(file: Path) -> list[Entry]:
    """The tensors of a file, in the order of their bytes. InputError says what is wrong with the file."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or length > min(size - 8, MOST_BYTES):
                raise InputError(f"{file}: damaged: the header's length is beyond the file or {MOST_BYTES} bytes")
            text = opened.read(length)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    entries = [_entry(file, name, row, 8 + length) for name, row in _rows(file, text).items()]
    entries.sort(key=lambda entry: (entry.offset, entry.nbytes))
    end = 8 + length
    for entry in entries:
        if entry.offset != end:
            raise InputError(f"{file}: damaged: {entry.name!r} leaves a gap or overlaps")
        end += entry.nbytes
    if end != size:
        raise InputError(f"{file}: damaged: its tensors end at byte {end}, and the file at {size}")
    return entries


def _rows(file: Path, text: bytes) -> dict[str, Any]:
    try:
        rows = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: damaged: the header is not JSON, or says something twice") from error
    if not isinstance(rows, dict):
        raise InputError(f"{file}: damaged: the header is not an object")
    rows.pop("__metadata__", None)
    if len(rows) > MOST_TENSORS:
        raise InputError(f"{file}: has {len(rows)} tensors; at most {MOST_TENSORS} are read")
    return rows


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _entry(file: Path, name: str, row: Any, start: int) -> Entry:
    wrong = InputError(f"{file}: damaged: the header's entry for {name!r} is not a tensor's")
    if not isinstance(row, dict) or row.keys() != {"dtype", "shape", "data_offsets"} or not name or "\0" in name:
        raise wrong
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not (isinstance(dtype, str) and _numbers(shape) and _numbers(offsets) and len(offsets) == 2):
        raise wrong
    if dtype not in BITS:
        raise InputError(f"{file}: {name}: the dtype {dtype!r} is not known")
    begin, end = offsets
    if begin > end or math.prod(shape) * BITS[dtype] != 8 * (end - begin):
        raise wrong
    return Entry(name, dtype, tuple(shape), file, start + begin, end - begin)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value) and len(value) <= 64
