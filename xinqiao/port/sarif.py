"""A port as SARIF 2.1.0, the form in which code scanning takes findings.

Places that are safe are left out. A place's rewrite is in its message and not in `fixes`: it needs the lines that a
port writes once a file, so that one fix by itself would be wrong.
"""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from xinqiao.port.pages import Page, pages
from xinqiao.record.schema import SCHEMA, Occurrence, PortRecord

_LEVELS = {"rewritten": "warning", "needs-you": "error", "refused-by-chip": "error"}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"

Json = dict[str, Any]


def sarif(record: PortRecord, project: Path, version: str) -> Json:
    """The log. Paths are relative to the git checkout that holds the project, or else to the project."""
    prefix = _prefix(project)
    found = [o for o in record.occurrences if o.verdict in _LEVELS]
    rules = sorted({o.rule for o in found})
    seen: Counter[str] = Counter()
    driver = {"name": "Xinqiao", "version": version, "rules": [_rule(r, pages().get(r)) for r in rules]}
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"xinqiao/{record.chip}/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The folder that holds the code"}}},
        "results": [_result(o, rules.index(o.rule), prefix, seen) for o in found],
        "properties": {"chip": record.chip, "schema": SCHEMA},
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _prefix(project: Path) -> str:
    root = (project if project.is_dir() else project.parent).resolve()
    checkout = next((p for p in (root, *root.parents) if (p / ".git").exists()), root)
    relative = Path(os.path.relpath(root, checkout)).as_posix()
    return "" if relative == "." else f"{relative}/"


def _rule(name: str, page: Page | None) -> Json:
    if page is None:
        text = {"text": name}
        return {"id": name, "shortDescription": text, "help": text}
    plain = f"{page.does}\n\nWhy: {page.why}\n\nUnsafe when: {page.unsafe}\n\nSource: {page.source}"
    example = f"\n\n```\n{page.example}\n```" if page.example else ""
    return {
        "id": name,
        "shortDescription": {"text": page.title},
        "fullDescription": {"text": page.does},
        "help": {"text": plain, "markdown": plain + example},
        "defaultConfiguration": {"level": "warning"},
        "properties": {"tags": ["portability", "cuda"]},
    }


def _result(o: Occurrence, rule: int, prefix: str, seen: Counter[str]) -> Json:
    text = o.reason[:1].upper() + o.reason[1:]
    if o.verdict == "rewritten":
        text = f"A port rewrites this to `{_short(o.after)}`: {o.reason}"
    return {
        "ruleId": o.rule,
        "ruleIndex": rule,
        "level": _LEVELS[o.verdict],
        "message": {"text": f"{text}."},
        "locations": [{"physicalLocation": _location(o, prefix)}],
        "partialFingerprints": {"xinqiaoPlace/v1": _fingerprint(o, prefix, seen)},
        "properties": {"verdict": o.verdict, "risky": o.risky},
    }


def _location(o: Occurrence, prefix: str) -> Json:
    region = {"startLine": o.line, "startColumn": o.column, "endLine": o.end_line, "endColumn": o.end_column}
    uri = quote((prefix + o.file).encode("utf-8", "surrogateescape"))
    return {"artifactLocation": {"uri": uri, "uriBaseId": _ROOT}, "region": region}


def _fingerprint(o: Occurrence, prefix: str, seen: Counter[str]) -> str:
    """The same for a place that only moves to another line."""
    what = "\0".join((prefix + o.file, o.rule, o.before)).encode("utf-8", "surrogateescape")
    name = hashlib.sha256(what).hexdigest()[:32]
    seen[name] += 1
    return f"{name}:{seen[name]}"


def _short(text: str) -> str:
    one = " ".join(text.split())
    return one if len(one) <= 120 else f"{one[:119]}…"
