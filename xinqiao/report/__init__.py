"""Records → one self-contained HTML page."""

import os
from collections.abc import Sequence
from pathlib import Path

from xinqiao.errors import InputError
from xinqiao.record.files import Record
from xinqiao.report.page import page
from xinqiao.report.verdict import verdict
from xinqiao.report.words import Language

__all__ = ["default_language", "page", "verdict", "write"]


def default_language() -> Language:
    """'zh' where the locale is Chinese, else 'en'."""
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def write(records: Sequence[Record], out: Path, lang: Language) -> None:
    """Write the page; a reader never sees half of it. InputError where it cannot be written."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise InputError(f"{out}: not a file in a folder that exists; give one such as page.html")
    text = page(records, lang=lang)
    partial = out.with_name(out.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error
