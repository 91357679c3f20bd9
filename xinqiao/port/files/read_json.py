"""JSON's scalars, each with its place in the text. Comments and commas too many, as editors allow them, are fine."""

import json
import re
from collections.abc import Iterator

from xinqiao.port.files.scalars import Scalar, Walk
from xinqiao.port.files.text import NotReadable

_TOKEN = re.compile(
    r"""(?P<space>[\s,:]+|//[^\n]*|/\*.*?\*/)|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<open>[\[{])|(?P<close>[\]}])"""
    r"""|(?P<word>[-+\w.]+)""",
    re.DOTALL,
)


def scalars(text: str, start: int = 0, end: int | None = None) -> Iterator[Scalar]:
    """NotReadable where brackets do not match, a string is not closed, or the nesting is too deep."""
    walk = Walk()
    at, end = start, len(text) if end is None else end
    while at < end:
        token = _TOKEN.match(text, at, end)
        if token is None:
            raise NotReadable(f"not JSON (line {text.count(chr(10), 0, at) + 1})")
        kind = token.lastgroup
        if kind == "open":
            yield from _open(token, walk)
        elif kind == "close":
            if not walk.frames or (walk.frames[-1].kind == "map") != (token[0] == "}"):
                raise NotReadable(f"not JSON (line {text.count(chr(10), 0, at) + 1}: brackets do not match)")
            walk.close()
        elif kind != "space":
            yield from _scalar(token, walk)
        if walk.too_deep:
            raise NotReadable("nested too deep")
        at = token.end()
    if walk.frames:
        raise NotReadable("not JSON (a bracket is not closed)")


def _open(token: re.Match[str], walk: Walk) -> Iterator[Scalar]:
    if walk.awaits_key:
        raise NotReadable("not JSON (a key is missing)")
    if walk.frames and walk.frames[-1].key is not None:
        frame = walk.frames[-1]
        yield Scalar(frame.keys, frame.key or "", frame.key_start, frame.key_end, is_key=True)
    walk.open("map" if token[0] == "{" else "list")


def _scalar(token: re.Match[str], walk: Walk) -> Iterator[Scalar]:
    written = token[0]
    quoted = 1 if token.lastgroup == "string" else 0
    value = string(written) if quoted else written
    frame = walk.frames[-1] if walk.frames else None
    if walk.awaits_key:
        assert frame is not None
        frame.key, frame.key_start, frame.key_end = value, token.start(), token.end()
        return
    yield Scalar(
        walk.keys(),
        value,
        token.start() + quoted,
        token.end() - quoted,
        '"' if quoted else "",
        exact=written == (f'"{value}"' if quoted else value),
        before=frame.before if frame and walk.in_list else "",
        entry=(frame.key_start, token.end()) if frame and not walk.in_list else None,
    )
    if frame:
        frame.done(value)


def string(written: str) -> str:
    """The value of a JSON string; as it is written where an escape is wrong."""
    try:
        return str(json.loads(written, strict=False))
    except ValueError:
        return written[1:-1]
