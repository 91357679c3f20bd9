"""Small files of other people's making: only regular files, of bounded size, and JSON of bounded depth."""

import json
import stat
from pathlib import Path
from typing import Any

from xinqiao.errors import InputError

MOST_BYTES = 10 << 20  # of a configuration
MOST_DEPTH = 64
_CHECKED = frozenset((str, dict, list))  # what json makes that may be wrong inside


def shown(name: str) -> str:
    """A name out of a file, as one line of a message can bear it."""
    short = name if len(name) <= 120 else f"{name[:120]}…"
    return short if short.isprintable() else ascii(short)


def regular(path: Path) -> Path:
    """The same path. InputError where it is no regular file: a pipe or a device would be waited on without end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file")
    return path


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes."""
    try:
        with regular(path).open("rb") as opened:
            data = opened.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > most:
        raise InputError(f"{path}: is larger than {most >> 20} MB")
    return data


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. InputError where it nests deep, or has text that is not Unicode."""
    data = read_bytes(path, MOST_BYTES)
    try:
        found = json.loads(data.decode())
        _check(found, MOST_DEPTH)
    except RecursionError as error:
        raise InputError(f"{path}: is nested deeper than {MOST_DEPTH}") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON in Unicode") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: is not a JSON object")
    return found


def _check(value: object, depth: int) -> None:
    if isinstance(value, str):
        value.encode()  # half a surrogate pair could not be written again
    elif isinstance(value, dict | list):
        if not depth:
            raise RecursionError
        for child in value.values() if isinstance(value, dict) else value:
            if type(child) in _CHECKED:  # not a call for each of millions of numbers
                _check(child, depth - 1)
        for key in value if isinstance(value, dict) else ():
            key.encode()
