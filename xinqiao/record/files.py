"""Write and read record files."""

from pathlib import Path

import msgspec

from xinqiao.errors import InputError
from xinqiao.record.schema import SCHEMA, PortRecord, RunRecord

Record = RunRecord | PortRecord


def write(record: Record, path: Path) -> None:
    """Write `record` as JSON; a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(msgspec.json.encode(record))
    partial.replace(path)


def read(path: Path) -> Record:
    """Read and validate a record. InputError names the file and the first key that is wrong."""
    try:
        record: Record = msgspec.json.decode(path.read_bytes(), type=Record)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a record of this version: {error}") from error
    if record.schema != SCHEMA:
        raise InputError(f"{path}: schema {record.schema}, this version reads {SCHEMA}")
    return record
