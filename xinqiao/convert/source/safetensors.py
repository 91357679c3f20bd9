"""The header of a safetensors file, read and checked to the last byte; https://github.com/huggingface/safetensors

A tensor at a time: what a damaged or hostile header costs ends with its first wrong tensor.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from xinqiao.convert.source.documents import regular, shown
from xinqiao.convert.source.entry import Entry
from xinqiao.errors import InputError

MOST_BYTES = 100_000_000  # of a header, as the format's own reader allows
MOST_TENSORS = 2_000_000
MOST_METADATA = 10 << 20  # bytes
MOST_NAME = 1 << 16  # bytes, with the space around it
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **{"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4},
}
_TEXT = rb'"(?:[^"\\]++|\\.)*+"'
_NAME = re.compile(rb"\s*+(" + _TEXT + rb")\s*+:\s*+", re.DOTALL)
_ROW = re.compile(rb"(\{[^{}]{0,2000}+\})\s*+([,}])")
_METADATA = re.compile(rb'(\{(?:[^"{}]++|' + _TEXT + rb")*+\})\s*+([,}])", re.DOTALL)
_Number = Annotated[int, Meta(ge=0, lt=1 << 48)]


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    dtype: str
    shape: Annotated[list[_Number], Meta(max_length=64)]
    data_offsets: tuple[_Number, _Number]


_row = msgspec.json.Decoder(_Row)
_name = msgspec.json.Decoder(str)
_metadata = msgspec.json.Decoder(dict[str, str])


def read_header(file: Path) -> list[Entry]:
    """The tensors of a file, in the order of their bytes. InputError says what is wrong with the file."""
    try:
        size = regular(file).stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or length > min(size - 8, MOST_BYTES):
                raise InputError(f"{file}: damaged: the header's length is beyond the file or {MOST_BYTES} bytes")
            text = opened.read(length)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    entries = _unique(file, text)
    entries.sort(key=lambda entry: (entry.offset, entry.nbytes))
    end = 8 + length
    for entry in entries:
        if entry.offset != end:
            raise InputError(f"{file}: damaged: {shown(entry.name)} leaves a gap or overlaps")
        end += entry.nbytes
    if end != size:
        raise InputError(f"{file}: damaged: its tensors end at byte {end}, and the file at {size}")
    return entries


def _unique(file: Path, text: bytes) -> list[Entry]:
    found: dict[str, Entry] = {}
    for name, row in _rows(file, text):
        if name in found:
            raise InputError(f"{file}: damaged: the header lists {shown(name)} twice")
        found[name] = _entry(file, name, row, 8 + len(text))
        if len(found) > MOST_TENSORS:
            raise InputError(f"{file}: has more than {MOST_TENSORS} tensors")
    return list(found.values())


def _rows(file: Path, text: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, the text of its row), without the file's metadata."""
    if re.fullmatch(rb"\{\s*+\}\s*+", text):
        return
    at, more, seen = 1, text[:1] == b"{", False
    while more:
        key = _NAME.match(text, at, at + MOST_NAME)
        name = _decoded(key[1]) if key else None
        if key is None or name is None:
            break
        metadata = name == "__metadata__"
        row = (_METADATA if metadata else _ROW).match(text, key.end(), key.end() + MOST_METADATA)
        if row is None or (metadata and (seen or not _harmless(row[1]))):
            raise InputError(f"{file}: damaged: the header's entry for {name[:80]!r} is not a tensor's")
        if not metadata:
            yield name, row[1]
        at, more, seen = row.end(), row[2] == b",", seen or metadata
    else:
        if at > 1 and not text[at:].strip():
            return
    raise InputError(f"{file}: damaged: the header is not JSON at byte {at + 8}")


def _decoded(text: bytes) -> str | None:
    try:
        return _name.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _harmless(metadata: bytes) -> bool:
    try:
        _metadata.decode(metadata)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _entry(file: Path, name: str, text: bytes, start: int) -> Entry:
    wrong = InputError(f"{file}: damaged: the header's entry for {name[:80]!r} is not a tensor's")
    try:
        row = _row.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise wrong from error
    if not name or "\0" in name or text.count(b'"') != 8:  # more: a key twice
        raise wrong
    if row.dtype not in BITS:
        raise InputError(f"{file}: {shown(name)}: the dtype {row.dtype[:20]!r} is not known")
    begin, end = row.data_offsets
    if begin > end or math.prod(row.shape) * BITS[row.dtype] != 8 * (end - begin):
        raise wrong
    return Entry(name, row.dtype, tuple(row.shape), file, start + begin, end - begin)
