"""Requirement files keep to packages that this chip can install.

What it does: `torch==2.1.0+cu118` loses the build's name: CUDA's build and every other one fit what is left. In the
vendor style the index of CUDA builds becomes that of builds for the host, and the vendor's package stands after torch.
Packages that exist for CUDA alone need you: a marker can tell systems and machines apart, not accelerators.
Why: pip stops at a package that the chip's host cannot install, or fills gigabytes with CUDA's libraries.
Unsafe when: the index of the CUDA builds is given nowhere, and the build's name was there for people only.
Source: PEP 440 (a version without a local label fits any label), PEP 508 (environment markers).

    torch==2.1.0+cu118                     →    torch==2.1.0
"""

import re
from collections.abc import Iterator

from xinqiao.port.files import packages
from xinqiao.port.files.advice import ASK, SAME_DEVICE, Advice, needs_you
from xinqiao.port.files.text import Place, Text
from xinqiao.port.source import Edit
from xinqiao.port.words import is_bound

_COMMENT = re.compile(r"(^|\s)#.*")


def find(text: Text) -> Iterator[Place]:
    listed = {packages.name_of(line) for _, line in text.lines()}
    for begin, line in text.lines():
        written = _COMMENT.sub("", line).rstrip(" \t\\")
        start = begin + len(written) - len(written.lstrip())
        end = begin + len(written)
        advice = packages.line_advice(written.strip(), text.target, text.text)
        edits = [Edit(start, end, advice.text)] if advice and advice.verdict == "rewritten" else []
        if _wants_vendors(written, listed, text):
            added = f"{text.newline}{text.target.chip.platform.requirement}"
            edits.append(Edit(begin + len(line), begin + len(line), added))
            advice = advice or Advice(
                "rewritten", "the vendor's package works beside torch: choose the version that fits"
            )
        if advice is None and is_bound(written):
            advice = SAME_DEVICE if text.target.audit else needs_you(ASK)
        if advice is not None:
            yield Place(start, end, advice.verdict, advice.reason, tuple(edits))


def _wants_vendors(written: str, listed: set[str], text: Text) -> bool:
    requirement = text.target.chip.platform.requirement
    vendor = text.target.style == "vendor" and not text.target.audit and bool(requirement)
    return vendor and packages.name_of(written) == "torch" and packages.name_of(requirement) not in listed
