"""Read one chip from its .toml file. A mistake in the file becomes one line: file, key, what is expected."""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from xinqiao.chips.spec import Chip
from xinqiao.chips.table import chip_of, completed, is_table
from xinqiao.chips.table import read as read_table
from xinqiao.errors import InputError, nearest

FOLDER = Path(__file__).parent
TABLES = FOLDER / "operators"
PLATFORMS = FOLDER / "platforms"

FIGURES = ("power", "launch")  # top-level keys that hold one figure, not a table of them

Table = dict[str, Any]  # as tomllib answers


def read(path: Path) -> Chip:
    """The chip in `path`; InputError '<file>: <key>: <what is wrong>'.

    A file with `base = "NAME"` states what differs from that chip, which lies beside it or in this package. One with
    `platform = "NAME"` has what `platforms/NAME.toml` says of its vendor's software. One with `calibration = "FILE"`,
    relative to the chip's file, has that table's figures where it states none. A table is a chip by itself.
    """
    data = parse(path)
    if is_table(data):
        return chip_of(read_table(path), path)
    if "base" in data:
        under = parse(_base_path(path, data["base"]))
        under.pop("calibration", None)  # of another chip
        data = _merge(under, data)
    if data.setdefault("name", path.stem) != path.stem:
        raise InputError(f"{path}: name: '{data['name']}' is not the file's name; remove the key or rename the file")
    if isinstance(data.get("platform"), str):
        data["platform"] = _platform(path, data["platform"])
    try:
        chip = msgspec.convert(data, Chip)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {explain(error, Chip)}") from error
    table = chip.software.operators
    if table and not (TABLES / f"{table}.json").exists():
        known = sorted({file.stem for file in TABLES.glob("*.json")} - {"common", "torch"})
        raise InputError(f"{path}: software.operators: '{table}' is not one of {', '.join(known)}")
    return _calibrated(chip, path) if chip.calibration else chip


def _calibrated(chip: Chip, path: Path) -> Chip:
    file = (path.parent / chip.calibration).resolve()
    try:
        measured = read_table(file)
    except InputError as error:
        raise InputError(f"{path}: calibration: {error}") from error
    if measured.device != chip.torch.device:
        raise InputError(
            f"{path}: calibration: {file} was measured on a '{measured.device}' device, this chip is "
            f"'{chip.torch.device}'; name a table of this chip"
        )
    return completed(msgspec.structs.replace(chip, calibration=str(file)), measured, file)


def parse(path: Path) -> Table:
    """A .toml file; InputError where it cannot be read or is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error


def _base_path(path: Path, name: object) -> Path:
    for folder in (path.parent, FOLDER):
        found = folder / f"{name}.toml"
        if found.exists() and found.resolve() != path.resolve():
            if "base" in parse(found):
                raise InputError(f"{path}: base: '{name}' has a base itself; name that one")
            return found
    known = (file.stem for folder in (path.parent, FOLDER) for file in folder.glob("*.toml"))
    raise InputError(f"{path}: base: no chip '{name}'{nearest(str(name), known)}")


def _platform(path: Path, name: str) -> Table:
    file = PLATFORMS / f"{name}.toml"
    if not file.exists():
        known = sorted(f.stem for f in PLATFORMS.glob("*.toml"))
        raise InputError(f"{path}: platform: '{name}' is not one of {', '.join(known)}")
    return parse(file)


def _merge(under: Table, over: Table) -> Table:
    """`over` on top of `under`; tables key by key, a figure as a whole."""
    merged = dict(under)
    for key, value in over.items():
        below = under.get(key)
        is_table = isinstance(value, dict) and isinstance(below, dict) and key not in FIGURES
        merged[key] = below | value if is_table else value
    return merged


def explain(error: msgspec.ValidationError, kind: type) -> str:
    """'memory.capacity.unit: 'TB' is not one of GB, GiB' of msgspec's or our own words; `kind` was to be read."""
    message, _, where = str(error).partition(" - at `$")
    path = where.strip("`.")
    if isinstance(error.__cause__, ValueError):
        return f"{path}.{message}".lstrip(".")
    if found := re.match(r"Object (contains unknown|missing required) field `(.*)`", message):
        key = f"{path}.{found[2]}".lstrip(".")
        if found[1] == "missing required":
            return f"{key}: missing"
        fields = _type_at(path, kind).__struct_fields__
        return f"{key}: unknown key{nearest(found[2], fields) or '; known: ' + ', '.join(fields)}"
    if found := re.match(r"Invalid enum value '?(.*?)'?$", message):
        return f"{path}: '{found[1]}' is not one of {', '.join(map(str, get_args(_type_at(path, kind))))}"
    return f"{path}: {message[0].lower()}{message[1:].replace('`', '')}"


def _type_at(path: str, root: type) -> Any:
    """The type of the value at a key path such as 'memory.capacity' or 'rejected[0]'."""
    kind: Any = root
    for key in filter(None, path.split(".")):
        name, bracket, _ = key.partition("[")
        kind = next(field.type for field in msgspec.structs.fields(kind) if field.name == name)
        if get_origin(kind) is not Literal and type(None) in get_args(kind):
            kind = get_args(kind)[0]
        if bracket:
            kind = get_args(kind)[0]
    return kind
