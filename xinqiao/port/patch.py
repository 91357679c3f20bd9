"""What changes in a file, as the text that `git apply` takes: bytes, whatever their encoding and line ends."""

import difflib
import re

_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_NO_NEWLINE = b"\n\\ No newline at end of file\n"
_PLAIN = re.compile(r"[ !#-\[\]-~]+")  # needs no quotes: printable ASCII without '"' and '\'


def unified(path: str, before: bytes | None, after: bytes) -> bytes:
    """The unified diff of one file; before: None for a file that is new. b'' where nothing changes."""
    old, new = _LINE.findall(before or b""), _LINE.findall(after)
    lines = list(difflib.diff_bytes(difflib.unified_diff, old, new, lineterm=b"\n"))[2:]
    a, b = _quoted(f"a/{path}"), _quoted(f"b/{path}")
    head = f"diff --git {a} {b}\n"
    if before is None:
        head += "new file mode 100644\n"
        a = "/dev/null"
    if not lines:
        return head.encode() if before is None else b""
    body = b"".join(line if line.endswith(b"\n") else line + _NO_NEWLINE for line in lines)
    return f"{head}--- {_ended(a)}\n+++ {_ended(b)}\n".encode() + body


def _ended(name: str) -> str:
    """A tab after a name with spaces says where it ends."""
    return f"{name}\t" if " " in name and not name.startswith('"') else name


def _quoted(name: str) -> str:
    """As git writes a name: odd bytes as octal numbers, in quotes."""
    if _PLAIN.fullmatch(name):
        return name
    plain = set(range(32, 127)) - {ord('"'), ord("\\")}
    data = name.encode("utf-8", "surrogateescape")
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in data) + '"'
