"""The one error that means: the input is wrong. Raised at the border, printed as one line, exit code 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(Exception):
    """What is wrong, where, and what to do, in one line without a trailing period."""


def nearest(word: str, known: Iterable[str]) -> str:
    """'; did you mean a, b' for the up to three nearest known words, or '' when none is near."""
    close = get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}" if close else ""
