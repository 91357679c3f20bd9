"""What happened, in a few plain sentences."""

from collections.abc import Sequence

from xinqiao.errors import InputError
from xinqiao.record.files import Record
from xinqiao.record.schema import PortRecord, ProofRecord, RunRecord, Side, Support
from xinqiao.report.lineup import Comparison, compare
from xinqiao.report.words import Language, say, sentence


def verdict(records: Sequence[Record], language: Language) -> str:
    """What happened. A proof's verdict stands; without one, the last run is the one that is spoken of."""
    runs, ports, proof = split(records)
    said = [_proven(proof, language)] if proof else []
    if runs:
        if not proof:
            said.append(sentence(_how_it_ran(runs, ports, language)))
        said += [_odd_support(subject(runs), "refused", language), _odd_support(subject(runs), "fallback", language)]
    if ports and not said:
        said.append(say(language, "verdict_no_run", chip=ports[-1].summary.title))
    return ("" if language == "zh" else " ").join(filter(None, said))


def split(records: Sequence[Record]) -> tuple[list[RunRecord], list[PortRecord], ProofRecord | None]:
    """The runs and the ports, each in the order given, and the proof. InputError for two proofs."""
    proofs = [r for r in records if isinstance(r, ProofRecord)]
    if len(proofs) > 1:
        raise InputError(f"{len(proofs)} proofs: a page is about one; make a page of each")
    runs, ports = [r for r in records if isinstance(r, RunRecord)], [r for r in records if isinstance(r, PortRecord)]
    return runs, ports, proofs[0] if proofs else None


def subject(runs: Sequence[RunRecord]) -> RunRecord:
    """The run that the page is about: of the last one's chip and mode, the latest of rank 0."""
    last = runs[-1]
    return next((r for r in reversed(runs) if r.rank == 0 and (r.chip, r.mode) == (last.chip, last.mode)), last)


def chip_name(run: RunRecord | Side, language: Language) -> str:
    """The chip's title, and that it is virtual where it is."""
    return say(language, "virtual", chip=run.title) if run.virtual else run.title


def _proven(proof: ProofRecord, language: Language) -> str:
    stopped = any(p.kind == "failure" and p.weight == "differs" for p in proof.partings)
    key = "proof_stopped" if stopped else f"proof_{proof.verdict}"
    return say(language, key, chip=chip_name(proof.port, language), other=chip_name(proof.original, language))


def _how_it_ran(runs: Sequence[RunRecord], ports: Sequence[PortRecord], language: Language) -> str:
    about = subject(runs)
    who, other = ("the_port", "the_original") if ports else ("the_program", "the_first_run")
    failed = next((r for r in reversed(runs) if r.exit_code), None)
    if failed is not None:
        named = say(language, who if failed.chip == about.chip else other)
        return say(language, "verdict_failed", who=named, chip=chip_name(failed, language), code=failed.exit_code)
    ran = say(language, "verdict_ran", who=say(language, who), chip=chip_name(about, language))
    if about.mode == "shapes":
        return ran + say(language, "verdict_shapes")
    found = compare(runs)
    if not found.compared and len({r.chip for r in runs if r.mode == "values"}) < 2:
        return ran + say(language, "stop")
    parts = {"other": say(language, other), "chip": chip_name(runs[0], language)}
    return ran + _how_it_compares(found, parts, language)


def _how_it_compares(found: Comparison, parts: dict[str, str], language: Language) -> str:
    if not found.compared:
        return say(language, "verdict_nothing_read", **parts)
    if not found.lined_up:
        return say(language, "verdict_uncompared", **parts)
    if found.identical:
        return say(language, "verdict_same", count=found.numbers, **parts)
    return say(language, "verdict_differs", difference=f"{found.difference:.3g}", **parts)


def _odd_support(run: RunRecord, kind: Support, language: Language) -> str:
    count = len({(i.operator, i.dtype) for i in run.incidents if i.support == kind})
    return say(language, f"verdict_{kind}", count=count) if count else ""
