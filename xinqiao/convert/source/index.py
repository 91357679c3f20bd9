"""The index of a checkpoint of several files: which file holds which tensor."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from xinqiao.convert.source.documents import read_bytes, shown
from xinqiao.convert.source.entry import Entry
from xinqiao.errors import InputError

MOST_BYTES = 64 << 20
MOST_NAMES = 1_000_000
_PART = re.compile(r"(.+)-(\d{5,6})-of-(\d{5,6})(\.\w+)")


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def read_index(path: Path, suffix: str) -> dict[str, str]:
    """Tensor → the plain name of a file of its folder that ends in `suffix`.

    InputError for any other name (one with a slash, backslash, colon or NUL, or a hidden file), and for files missing.
    """
    data = read_bytes(path, MOST_BYTES)
    try:
        if data.count(b":") > 2 * MOST_NAMES:
            raise InputError(f"{path}: names more than {MOST_NAMES} tensors")
        where = msgspec.json.decode(data, type=_Index).weight_map
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: has no weight_map from tensors to files") from error
    if not where:
        raise InputError(f"{path}: has no weight_map from tensors to files")
    present = {entry.name for entry in path.parent.iterdir()}
    for name in dict.fromkeys(where.values()):
        if not name.endswith(suffix) or name.startswith(".") or any(c in name for c in "/\\:\0"):
            raise InputError(f"{path}: names {name[:80]!r}, which is not a {suffix} file of this folder")
        if name not in present:
            raise InputError(f"{path.parent}: {shown(name)} is missing, and the index names it")
    return where


def compare(path: Path, where: Mapping[str, str], entries: Mapping[str, Entry], tied: Collection[str] = ()) -> None:
    """InputError where the index and its files disagree. tied: names that stand for tensors under another name."""
    for name, file in where.items():
        if name not in tied and (name not in entries or entries[name].file.stem != Path(file).stem):
            raise InputError(f"{path}: says that {shown(name)} is in {shown(file)}, and it is not there")
    for name in entries:
        if name not in where:
            raise InputError(f"{path}: does not list {shown(name)}, which is in {shown(entries[name].file.name)}")


def whole(folder: Path, names: Collection[str]) -> None:
    """InputError where one of files that count themselves ('-00001-of-00003') is missing."""
    for name in names:
        if part := _PART.fullmatch(name):
            stem, count, end = part[1], part[3], part[4]
            wanted = (f"{stem}-{i:0{len(part[2])}d}-of-{count}{end}" for i in range(1, min(int(count), 10**5) + 1))
            missing = next((one for one in wanted if one not in names), None)
            if missing:
                raise InputError(f"{folder}: {shown(missing)} is missing beside {shown(name)}")
