"""Which line of the port is which line of the original, from the two texts alone."""

import ast
from bisect import bisect_left
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path

SKIPPED = {".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", "site-packages"}


@dataclass(frozen=True)
class Statement:
    """A statement of the port that is not in the original as it stands: its lines from 1, its text's first line."""

    file: str
    first: int
    last: int
    text: str


@dataclass
class FileLines:
    """One file on both sides. `pairs` maps lines of the port to lines of the original, from 1."""

    original: list[str]
    port: list[str]
    pairs: dict[int, int] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)  # lines of the port

    def __post_init__(self) -> None:
        matcher = SequenceMatcher(None, self.original, self.port, autojunk=False)
        for tag, a, b, c, d in matcher.get_opcodes():
            if tag in ("insert", "replace"):
                self.changed |= set(range(c + 1, d + 1))
            if tag == "equal" or (tag == "replace" and b - a == d - c):
                self.pairs.update(zip(range(c + 1, d + 1), range(a + 1, b + 1), strict=True))
            elif tag == "replace":
                self._pair_similar(a, b, c, d)

    def _pair_similar(self, a: int, b: int, c: int, d: int) -> None:
        """In a block of unequal lengths, each line of the port takes the most similar line that is left, in order."""
        for j in range(c, d):
            ratios = [(SequenceMatcher(None, self.port[j], self.original[i]).ratio(), -i) for i in range(a, b)]
            best, i = max(ratios, default=(0.0, 0))
            if best > 0.6:
                self.pairs[j + 1] = -i + 1
                a = -i + 1

    @cached_property
    def _back(self) -> tuple[list[int], list[int]]:
        sides = sorted((original, port) for port, original in self.pairs.items())
        return [o for o, _ in sides], [p for _, p in sides]

    def port_of(self, line: int) -> int:
        """The line of the port that stands where a line of the original stood, or the next one after it."""
        originals, ports = self._back
        if not originals:
            return min(line, max(len(self.port), 1))
        return ports[min(bisect_left(originals, line), len(ports) - 1)]


class Lines:
    """All Python files that are on both sides."""

    def __init__(self, original: Path | None, port: Path | None) -> None:
        self.files: dict[str, FileLines] = {}
        self._new: dict[str, list[str]] = {}
        if original is None or port is None:
            return
        for path in sorted(port.rglob("*.py")):
            name = path.relative_to(port).as_posix()
            if SKIPPED & set(Path(name).parts) or not path.is_file():
                continue
            text, before = _lines(path), original / name
            if not before.is_file():
                self._new[name] = text
            elif text != (old := _lines(before)):
                self.files[name] = FileLines(old, text)

    def original_of(self, file: str, line: int) -> int:
        """The original's number of a line of the port; negative where the original has none."""
        known = self.files.get(file)
        return known.pairs.get(line, -line) if known else line

    def port_of(self, file: str, line: int) -> int:
        """The port's number of a line of the original, or of what stands nearest after it."""
        known = self.files.get(file)
        return known.port_of(line) if known else line

    def text(self, file: str, line: int) -> str:
        """A line of the port, where its file differs from the original's."""
        known = self.files.get(file)
        return known.port[line - 1].strip() if known and 0 < line <= len(known.port) else ""

    def changed(self) -> list[Statement]:
        """Statements of the port that the original does not have as they stand; of a compound one, its head."""
        found = []
        for name, lines in self.files.items():
            found += _statements(name, lines.port, lines.changed)
        for name, text in self._new.items():
            found += _statements(name, text, set(range(1, len(text) + 1)))
        return found

    def watched(self) -> dict[str, list[int]]:
        """Lines of `changed`, by file."""
        found: dict[str, list[int]] = {}
        for statement in self.changed():
            found.setdefault(statement.file, []).extend(range(statement.first, statement.last + 1))
        return found


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _statements(file: str, text: list[str], changed: set[int]) -> list[Statement]:
    try:
        tree = ast.parse("\n".join(text))
    except (SyntaxError, ValueError):
        return []
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt):
            continue
        body = getattr(node, "body", None)
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        last = body[0].lineno - 1 if body and body[0].lineno > node.lineno else node.end_lineno or node.lineno
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_text and changed & set(range(first, max(first, last) + 1)):
            found.append(Statement(file, first, max(first, last), text[node.lineno - 1].strip()))
    return sorted(found, key=lambda s: (s.file, s.first))
