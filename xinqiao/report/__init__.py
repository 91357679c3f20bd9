"""Records → one self-contained HTML page."""

import os
from pathlib import Path

from xinqiao.errors import InputError
from xinqiao.record.files import Record
from xinqiao.report.page import page, verdict
from xinqiao.report.words import Language

__all__ = ["default_language", "page", "verdict", "write"]


def default_language() -> Language:
    """'zh' where the locale is Chinese, else 'en'."""
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def write(records: list[Record], out: Path, lang: Language) -> None:
    """Write the page; a reader never sees half of it. InputError where its folder does not exist."""
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: its folder does not exist")
    partial = out.with_name(out.name + ".part")
    partial.write_text(page(records, lang=lang), encoding="utf-8")
    partial.replace(out)
