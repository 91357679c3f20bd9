"""Write and read record files."""

from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from xinqiao.errors import InputError
from xinqiao.record.schema import SCHEMA, PortRecord, ProofRecord, RunRecord
from xinqiao.record.sizes import SizeRecord, unfolded

Record = RunRecord | PortRecord | ProofRecord | SizeRecord
PROOF = "proof.json"
KEPT = ("original.json", "original.rank*.json", "port.json", "port.rank*.json", PROOF)  # what `prove --out` leaves
_NOT_IN_JSON = {"nan", "inf", "-inf"}  # how numbers that JSON lacks are written


def write(record: Record, path: Path) -> None:
    """Write `record` as JSON; a reader never sees half a file. InputError where the file cannot be written."""
    data = msgspec.to_builtins(record)
    for readback in data.get("readbacks", ()):
        readback["values"] = [v if isfinite(v) else str(v) for v in readback["values"]]
    for parting in data.get("partings", ()):
        if parting["distance"] is not None and not isfinite(parting["distance"]):
            parting["distance"] = str(parting["distance"])
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(msgspec.json.encode(data))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def read(path: Path) -> Record:
    """Read and validate a record. InputError names the file and the first key that is wrong."""
    try:
        record: Record = msgspec.convert(_with_all_numbers(msgspec.json.decode(path.read_bytes())), type=Record)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a record of this version: {error}") from error
    if record.schema != SCHEMA:
        raise InputError(f"{path}: schema {record.schema}, this version reads {SCHEMA}")
    return record


def read_all(paths: Iterable[Path]) -> list[Record]:
    """The records in the order given; a folder stands for what `prove --out` left in it.

    InputError where a file is no record or a folder has none.
    """
    found = []
    for path in paths:
        files = [file for pattern in KEPT for file in sorted(path.glob(pattern))] if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path}: this folder has none of the records that `xinqiao prove --out` leaves")
        found += [read(file) for file in files]
    return found


def _with_all_numbers(data: Any) -> Any:
    """Numbers that JSON lacks, as numbers again; anything else is left for the check of types."""
    if isinstance(data, dict) and data.get("kind") == "size":
        return unfolded(data)
    for readback in _dicts(data, "readbacks"):
        values = readback.get("values")
        if isinstance(values, list):
            readback["values"] = [_number(v) for v in values]
    for parting in _dicts(data, "partings"):
        parting["distance"] = _number(parting.get("distance"))
    return data


def _dicts(data: Any, key: str) -> list[dict[str, Any]]:
    """The dictionaries in a list of `data`, where there is such a list."""
    found = data.get(key) if isinstance(data, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and value in _NOT_IN_JSON else value
