"""What a reader does next, in the order in which it pays."""

from collections.abc import Sequence
from typing import NamedTuple

from xinqiao.record.schema import Parting, PortRecord, ProofRecord, RunRecord, Site
from xinqiao.report import kinds
from xinqiao.report.numbers import count
from xinqiao.report.words import Language, say

FOR_A_PERSON = ("needs-you", "refused-by-chip")  # verdicts that leave work


class Step(NamedTuple):
    """mark: a name of the page's style. command: what to type, or ''."""

    mark: str
    text: str
    command: str = ""


def steps(
    proof: ProofRecord | None, runs: Sequence[RunRecord], ports: Sequence[PortRecord], language: Language
) -> list[Step]:
    """Nothing for runs alone."""
    found = []
    if proof and proof.verdict == "differs" and proof.partings:
        found.append(Step("refused", _first(proof.partings[0], language)))
    left = sum(o.verdict in FOR_A_PERSON for p in ports for o in p.occurrences)
    if left:
        found.append(Step("needs-you", say(language, "do_needs_you", count=left)))
    if proof and proof.unproven:
        changed = count(proof.changed)
        found.append(Step("unknown", say(language, "do_unproven", count=len(proof.unproven), changed=changed)))
    if ports and not proof:
        command = f"xinqiao prove ORIGINAL PORT --chip {ports[-1].chip} --out DIR -- SCRIPT"
        found.append(Step("unknown", say(language, "do_prove"), command))
    if proof and not found:
        command = f"xinqiao run --chip {proof.port.chip} --record chip.json --evidence -- SCRIPT"
        on_chip = Step("native", say(language, "do_chip"), command)
        found.append(on_chip if proof.port.virtual else Step("native", say(language, "do_nothing")))
    return found


def place(site: Site | None) -> str:
    """'train.py:41', or the function's name, or '' where the parting has no line."""
    if site is None:
        return ""
    return f"{site.file}:{site.line}" if site.line else site.function


def _first(parting: Parting, language: Language) -> str:
    where, what = place(parting.port or parting.original), kinds.name(parting.kind, language) + say(language, "stop")
    said = say(language, "do_first", place=where, what=what) if where else say(language, "do_first_nowhere", what=what)
    between = "" if language == "zh" else " "
    return between.join(filter(None, [said, kinds.advice(parting.kind, language)]))
