"""What each rule says of itself: its documentation, read without importing it."""

import ast
import re
from functools import cache
from pathlib import Path

from msgspec import Struct

from xinqiao.errors import InputError, nearest

_HERE = Path(__file__).parent
_FOLDERS = ("rules", "files")  # a file of these that documents itself as a rule is one
_ELSEWHERE = {"leftovers": "other-places", "analyse": "files"}
_PART = re.compile(r"^(What it does|Why|Unsafe when|Source):\s*", re.MULTILINE)


class Page(Struct, frozen=True):
    """One rule's documentation."""

    name: str
    title: str
    does: str
    why: str
    unsafe: str
    source: str
    example: str  # before → after


@cache
def pages() -> dict[str, Page]:
    """Every rule's page by its name."""
    files = [p for folder in _FOLDERS for p in (_HERE / folder).glob("[a-z]*.py")]
    named = [(p.stem.replace("_", "-"), p) for p in files]
    named += [(name, _HERE / f"{stem}.py") for stem, name in _ELSEWHERE.items()]
    found = [page(name, path.read_text("utf-8")) for name, path in named if path.exists()]
    return {p.name: p for p in sorted(filter(None, found), key=lambda p: p.name)}


def page(name: str, code: str) -> Page | None:
    """The page that a rule's code holds; None where its documentation is not that of a rule."""
    title, _, rest = (ast.get_docstring(ast.parse(code)) or "").partition("\n\n")
    _, *pieces = _PART.split(rest)
    parts = dict(zip(pieces[::2], pieces[1::2], strict=True))
    if "What it does" not in parts:
        return None
    last = list(parts)[-1]
    parts[last], _, example = parts[last].partition("\n\n")
    words = {key: " ".join(text.split()) for key, text in parts.items()}
    return Page(
        name=name,
        title=" ".join(title.split()),
        does=words["What it does"],
        why=words.get("Why", ""),
        unsafe=words.get("Unsafe when", ""),
        source=words.get("Source", ""),
        example="\n".join(line.removeprefix("    ") for line in example.splitlines()),
    )


def one(name: str) -> Page:
    """A rule's page. InputError with near names where there is no such rule."""
    found = pages().get(name.replace("_", "-"))
    if found is None:
        raise InputError(f"no rule '{name}'{nearest(name, pages())}; see `xinqiao rules`")
    return found


def source_of(rule: str) -> str:
    """Where a rule's facts come from; '' where it does not say."""
    found = pages().get(rule)
    return found.source if found else ""
