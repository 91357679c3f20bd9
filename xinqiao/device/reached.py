"""Which of some lines ran. A function without such lines, or whose lines have all run, costs nothing but its call."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

Tracer = Callable[[FrameType, str, Any], Any]


class Reached:
    """watched: for files relative to `root`, the lines in question."""

    def __init__(self, root: Path, watched: dict[str, list[int]]) -> None:
        self._root = root
        self._waiting = {str(root / file): set(lines) for file, lines in watched.items() if lines}
        self._names = {str(root / file): file for file in watched}
        self.lines: dict[str, list[int]] = {file: [] for file in watched}
        self._of: dict[CodeType, set[int]] = {}
        if not self._waiting:
            return
        self._begin_inside_running_frames()
        threading.settrace(self._call)
        sys.settrace(self._call)

    def _begin_inside_running_frames(self) -> None:
        """The program is already running when torch is imported: what stands above has run, the rest is traced."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if lines := self._lines_of(frame.f_code):
                if frame.f_code.co_name == "<module>":
                    self._hit(frame.f_code, {n for n in lines if n <= frame.f_lineno})
                frame.f_trace = self._line
            frame = frame.f_back

    def _lines_of(self, code: CodeType) -> set[int]:
        if code not in self._of:
            waiting = self._waiting.get(code.co_filename)
            self._of[code] = waiting & {n for *_, n in code.co_lines() if n} if waiting else set()
        return self._of[code]

    def _call(self, frame: FrameType, event: str, argument: Any) -> Tracer | None:
        return self._line if self._lines_of(frame.f_code) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Tracer | None:
        lines = self._of[frame.f_code]
        if frame.f_lineno in lines:
            self._hit(frame.f_code, {frame.f_lineno})
        return self._line if lines else None

    def _hit(self, code: CodeType, lines: set[int]) -> None:
        self._of[code] -= lines
        self.lines[self._names[code.co_filename]] += sorted(lines)
