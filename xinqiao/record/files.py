"""Write and read record files."""

from math import isfinite
from pathlib import Path
from typing import Any

import msgspec

from xinqiao.errors import InputError
from xinqiao.record.schema import SCHEMA, PortRecord, ProofRecord, RunRecord

Record = RunRecord | PortRecord | ProofRecord
_NOT_IN_JSON = {"nan", "inf", "-inf"}  # how numbers that JSON lacks are written


def write(record: Record, path: Path) -> None:
    """Write `record` as JSON; a reader never sees half a file. InputError where the file cannot be written."""
    data = msgspec.to_builtins(record)
    for readback in data.get("readbacks", ()):
        readback["values"] = [v if isfinite(v) else str(v) for v in readback["values"]]
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


def _with_all_numbers(data: Any) -> Any:
    """Numbers read back that JSON lacks, as numbers again; anything else is left for the check of types."""
    readbacks = data.get("readbacks") if isinstance(data, dict) else None
    for readback in readbacks if isinstance(readbacks, list) else ():
        values = readback.get("values") if isinstance(readback, dict) else None
        if isinstance(values, list):
            readback["values"] = [float(v) if isinstance(v, str) and v in _NOT_IN_JSON else v for v in values]
    return data
