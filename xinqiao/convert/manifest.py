"""What a conversion did: one row for each weight, and every byte that it wrote under a hash."""

import math
from pathlib import Path
from typing import Any

import msgspec

from xinqiao.convert.kernels import Errors
from xinqiao.errors import InputError

NAME = "xinqiao-manifest.json"
SCHEMA = 1


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tensor of the result. offset: from the first byte after the shard's header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: str
    offset: int
    nbytes: int
    blake3: str


class Distance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a weight's new values are from its old ones, from the bytes that were written.

    sqnr_db        10 log10(sum a² / sum (a - b)²), rounded to 0.01; None where every value is equal
    largest_error  max |a - b|
    different, saturated, underflowed, nonfinite   elements of `count`
    """

    count: int
    different: int
    saturated: int
    underflowed: int
    nonfinite: int
    largest_error: float
    sqnr_db: float | None


class Converted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One weight. exact: every value is what it was, by comparing stored values one by one; copied: byte for byte.

    source   its format before: 'bf16', 'e4m3fn 128x128 f32'
    format   a layout's name, or 'as it was'
    how      'copied', 'codes kept', 'converted'
    """

    name: str
    shape: tuple[int, ...]
    source: str
    format: str
    how: str
    exact: bool
    distance: Distance | None
    note: str = ""
    parts: tuple[Part, ...]


class SourceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that was read. header_blake3: of the bytes before the tensors' data."""

    nbytes: int
    header_blake3: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of a converted checkpoint.

    plan   equal for the same request of the same source
    files  BLAKE3 of every file that is no shard
    """

    schema: int = SCHEMA
    kind: str = "checkpoint"
    plan: str
    layout: str
    rule: str
    source: dict[str, SourceFile]
    weights: list[Converted]
    files: dict[str, str]


def distance(errors: Errors) -> Distance:
    """The row of what a kernel counted."""
    sqnr = None
    if errors.different:
        ratio = errors.signal / errors.noise if errors.noise else math.inf
        sqnr = round(10 * math.log10(ratio), 2) if 0 < ratio < math.inf else 0.0
    return Distance(
        count=errors.count,
        different=errors.different,
        saturated=errors.saturated,
        underflowed=errors.underflowed,
        nonfinite=errors.nonfinite,
        largest_error=errors.largest,
        sqnr_db=sqnr,
    )


def encode(value: Any) -> bytes:
    """Readable JSON, the same bytes for the same value."""
    return msgspec.json.format(msgspec.json.encode(value)) + b"\n"


def read(folder: Path) -> Manifest:
    """The manifest of a converted checkpoint. InputError where it is missing or damaged."""
    path = folder / NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged, or not of this version: {error}") from error
    if found.schema != SCHEMA:
        raise InputError(f"{path}: schema {found.schema}, this version reads {SCHEMA}")
    return found
