"""The table known.toml: what surrounds PyTorch on CUDA outside Python."""

import tomllib
from functools import cache
from pathlib import Path

import msgspec


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See known.toml for what each key means."""

    monitor: str
    images: tuple[str, ...]
    packages: dict[str, str]
    harmless: dict[str, str]
    next: dict[str, str]


@cache
def known() -> Known:
    text = Path(__file__).with_name("known.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Known)


def look_up(name: str, table: dict[str, str]) -> str | None:
    """The value of a key, or of the longest key ending in '*' that `name` begins with."""
    if name in table:
        return table[name]
    fits = [k for k in table if k.endswith("*") and name.startswith(k[:-1])]
    return table[max(fits, key=len)] if fits else None
