"""A config.json and what may stand in it: bounded whole numbers, flags, words. Mistakes become one line."""

import json
from pathlib import Path
from typing import Any

from xinqiao.errors import InputError

MOST_BYTES = 1 << 20
MOST = 1 << 24  # of any count or width
MOST_LAYERS = 1024

Json = dict[str, Any]


class Keys:
    """The keys of one configuration. `where` begins every complaint: the file, and the table in it."""

    def __init__(self, found: Json, where: str) -> None:
        self.found = found
        self.where = where

    def wrong(self, key: str, what: str) -> InputError:
        return InputError(f"{self.where}: {key}: {what}")

    def first(self, *keys: str) -> str:
        """The first of several names of one thing that is there and not null; else the first name."""
        return next((key for key in keys if self.found.get(key) is not None), keys[0])

    def has(self, key: str) -> bool:
        return self.found.get(key) is not None

    def count(self, *keys: str, default: int | None = None, least: int = 1, most: int = MOST) -> int:
        """A whole number under one of `keys`. default: what the architecture takes where it is missing or null."""
        key = self.first(*keys)
        value = self.found.get(key)
        if value is None:
            if default is None:
                raise self.wrong(key, "missing")
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(key, f"{_short(value)} is not a whole number")
        if not least <= value <= most:
            raise self.wrong(key, f"{_short(value)} is not within {least} to {most}")
        return value

    def same(self, *keys: str, default: int | None = None, least: int = 1) -> int:
        """As `count`, of a key that may also list one number for each layer, all alike."""
        key = self.first(*keys)
        value = self.found.get(key)
        if not isinstance(value, list):
            return self.count(key, default=default, least=least)
        if not value or any(one != value[0] for one in value):
            raise self.wrong(key, "differs from layer to layer, which is not read here")
        return Keys({key: value[0]}, self.where).count(key, least=least)

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.found.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, f"{_short(value)} is not true or false")
        return value

    def word(self, *keys: str) -> str:
        """'' where it is missing."""
        key = self.first(*keys)
        value = self.found.get(key) or ""
        if not isinstance(value, str):
            raise self.wrong(key, f"{_short(value)} is not a word")
        return value

    def table(self, key: str) -> Json:
        """{} where it is missing."""
        value = self.found.get(key) or {}
        if not isinstance(value, dict):
            raise self.wrong(key, f"{_short(value)} is not a table")
        return value

    def per_layer(self, key: str, layers: int, known: tuple[str | int, ...]) -> list[Any]:
        """One of `known` for each of `layers`; further ones, of MTP layers, are left out. [] where it is missing."""
        value = self.found.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) < layers:
            raise self.wrong(key, f"not a list with one entry for each of {layers} layers")
        for one in value[:layers]:
            if isinstance(one, bool) or one not in known:
                raise self.wrong(key, f"{_short(one)} is not one of {', '.join(map(str, known))}")
        return value[:layers]

    def numbers(self, key: str) -> frozenset[int]:
        """A list of layers' numbers; none where it is missing."""
        value = self.found.get(key) or []
        if not isinstance(value, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in value):
            raise self.wrong(key, f"{_short(value)} is not a list of layers' numbers")
        return frozenset(value)

    def must(self, key: str, *allowed: object) -> None:
        """Refuse a key that is there with another value: it changes the architecture in a way not known here."""
        value = self.found.get(key)
        if value is not None and value not in allowed:
            raise self.wrong(key, f"{_short(value)} is not known for this architecture; known: {_short(allowed[0])}")


def load(path: Path) -> Keys:
    """The file itself, at most 1 MB."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path}: larger than 1 MB; a model's config.json is far smaller")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a table of keys but {_short(found)}")
    return Keys(found, str(path))


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
