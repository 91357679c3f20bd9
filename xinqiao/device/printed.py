"""Keeps what the program prints, without getting in its way."""

import sys
from typing import Any, TextIO

LINES = 20_000


class Printed:
    """Lines with a digit that went to stdout and stderr, in order; of a progress bar, its last state."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        for stream in (sys.stdout, sys.stderr):
            self._follow(stream)

    def _follow(self, stream: TextIO) -> None:
        write, rest = stream.write, [""]

        def follow(text: str) -> Any:
            *whole, rest[0] = (rest[0] + text).split("\n")
            for line in whole:
                self._keep(line.rpartition("\r")[2])
            return write(text)

        stream.write = follow  # type: ignore[method-assign]

    def _keep(self, line: str) -> None:
        if len(self.lines) < LINES and any(c.isdecimal() for c in line):
            self.lines.append(line)
