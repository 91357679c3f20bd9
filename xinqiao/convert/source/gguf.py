"""GGUF files, version 2 and 3: metadata and where each tensor lies. Every count is checked against the file first.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import struct
from itertools import pairwise
from pathlib import Path

from xinqiao.convert.source.entry import Entry
from xinqiao.errors import InputError
from xinqiao.native.codec import BITS, GROUPS

Value = int | float | bool | str | list[int] | list[float] | list[bool] | list[str]
MOST_ROWS = 65_536  # of metadata
MOST_TENSORS = 200_000
MOST_ITEMS = 2_000_000  # of all arrays together
MOST_DIMENSIONS = 4
LONGEST_NAME = 1000  # characters
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")  # of a string
_TYPES = {
    **{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 28: "F64", 30: "BF16"},
    **{10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K"},
    **{24: "I8", 25: "I16", 26: "I32", 27: "I64"},
}
_NOT_READ = {
    **{9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S"},
    **{22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"},
}
_INTEGERS = {"I16": 2, "I32": 4, "I64": 8}  # bytes


def read_gguf(file: Path) -> tuple[dict[str, Value], list[Entry]]:
    """(metadata, tensors under GGUF's names with row-major shapes). InputError says what is wrong with the file."""
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _Reader(file, mapped).read()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # of an empty file
        raise InputError(f"{file}: damaged: it is empty") from error


class _Reader:
    """A place in the file that only moves forward, and never beyond its end."""

    def __init__(self, file: Path, data: mmap.mmap) -> None:
        self._file, self._data, self._at = file, data, 0
        self._items = MOST_ITEMS  # that may still come

    def read(self) -> tuple[dict[str, Value], list[Entry]]:
        if self._take(4) != b"GGUF":
            raise InputError(f"{self._file}: is not a GGUF file")
        version = self._number("I")
        if version not in (2, 3):
            raise InputError(f"{self._file}: GGUF version {version}; 2 and 3 are read")
        tensors, rows = self._count(MOST_TENSORS, 24), self._count(MOST_ROWS, 12)
        metadata: dict[str, Value] = {}
        for _ in range(rows):
            key = self._string()
            if key in metadata:
                raise self._damaged(f"{key[:80]!r} is there twice")
            metadata[key] = self._value(self._number("I"))
        described = [self._tensor() for _ in range(tensors)]
        return metadata, self._placed(metadata, described)

    def _tensor(self) -> tuple[str, str, tuple[int, ...], int]:
        name = self._string()
        if len(name) > LONGEST_NAME:
            raise self._damaged(f"a tensor's name of {len(name)} characters")
        dimensions = self._number("I")
        if not 1 <= dimensions <= MOST_DIMENSIONS:
            raise self._damaged(f"{name!r} has {dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(dimensions))[::-1]
        kind, offset = self._number("I"), self._number("Q")
        if kind not in _TYPES:
            raise InputError(
                f"{self._file}: {name!r}: tensor type {_NOT_READ.get(kind, kind)} is not read; "
                f"there are {', '.join(_TYPES.values())}"
            )
        return name, _TYPES[kind], shape, offset

    def _placed(
        self, metadata: dict[str, Value], described: list[tuple[str, str, tuple[int, ...], int]]
    ) -> list[Entry]:
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
            raise self._damaged("general.alignment is not a small number")
        start = -(-self._at // alignment) * alignment
        found = []
        for name, dtype, shape, offset in described:
            size = self._size(name, dtype, shape)
            if start + offset + size > len(self._data):
                raise self._damaged(f"{name!r} ends beyond the file")
            found.append(Entry(name, dtype, shape, self._file, start + offset, size))
        found.sort(key=lambda entry: entry.offset)
        for entry, after in pairwise(found):
            if entry.offset + entry.nbytes > after.offset:
                raise self._damaged(f"{entry.name!r} and {after.name!r} overlap")
        if len({entry.name for entry in found}) != len(found):
            raise self._damaged("two tensors have one name")
        return found

    def _size(self, name: str, dtype: str, shape: tuple[int, ...]) -> int:
        element = dtype.lower()
        values, size = GROUPS.get(element, (1, _INTEGERS.get(dtype, BITS.get(element, 8) // 8)))
        if shape[-1] % values:
            raise self._damaged(f"{name!r} has rows of {shape[-1]}, not of whole groups of {values}")
        return math.prod(shape) // values * size

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind != _ARRAY:
            raise self._damaged(f"a value of kind {kind}")
        inner = self._number("I")
        if inner == _STRING:
            return self._strings(self._array(8))
        if inner not in _NUMBERS:
            raise self._damaged(f"an array of kind {inner}")
        code = _NUMBERS[inner]
        count = self._array(struct.calcsize("<" + code))
        return list(struct.unpack(f"<{count}{code}", self._take(count * struct.calcsize("<" + code))))

    def _array(self, each: int) -> int:
        count = self._count(self._items, each)
        self._items -= count
        return count

    def _count(self, most: int, each: int) -> int:
        """A number of things of at least `each` bytes that the rest of the file can hold."""
        count = self._number("Q")
        if count > min(most, (len(self._data) - self._at) // each):
            raise self._damaged(f"it claims {count} things at byte {self._at - 8}")
        return count

    def _string(self) -> str:
        return self._take(self._number("Q")).decode("utf-8", "replace")

    def _strings(self, count: int) -> list[str]:
        """As many `_string`s, several times as fast: vocabularies have hundreds of thousands."""
        found, at, data, end = [], self._at, self._data, len(self._data)
        for _ in range(count):
            start = at + 8
            at = start + _LENGTH.unpack_from(data, at)[0] if start <= end else end + 1
            if at > end:
                raise self._damaged(f"it ends in the middle of something at byte {start}")
            found.append(data[start:at].decode("utf-8", "replace") if at > start else "")
        self._at = at
        return found

    def _number(self, code: str) -> int:
        size = struct.calcsize("<" + code)
        value: int = struct.unpack("<" + code, self._take(size))[0]
        return value

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise self._damaged(f"it ends in the middle of something at byte {self._at}")
        self._at += size
        return self._data[self._at - size : self._at]

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self._file}: damaged: {what}")
