"""Scalars of INI files: sections, keys, and the indented lines that continue a value."""

import re
from collections.abc import Iterator

from xinqiao.port.files.scalars import Scalar
from xinqiao.port.files.text import Text

_SECTION = re.compile(r"\[([^\]]*)\]\s*$")
_ENTRY = re.compile(r"([^\s=:#;\[][^=:]*?)\s*[=:]\s*(.*?)\s*$")


def scalars(text: Text) -> Iterator[Scalar]:
    """Every value; a line that continues one has the same keys."""
    section, key = "", ""
    for begin, line in text.lines():
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        if found := _SECTION.match(line):
            section, key = found[1], ""
        elif line[0] in " \t" and key:
            start = begin + len(line) - len(line.lstrip())
            yield Scalar((section, key), line.strip(), start, begin + len(line.rstrip()))
        elif found := _ENTRY.match(line):
            key = found[1]
            start, end = begin + found.start(2), begin + found.end(2)
            if found[2]:
                yield Scalar((section, key), found[2], start, end, entry=(begin, end))
