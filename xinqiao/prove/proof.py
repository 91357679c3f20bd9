"""From compared ranks to a proof: one verdict, where the runs part, what was not reached."""

from collections.abc import Sequence

from xinqiao.prove.bound import why
from xinqiao.prove.compare import Rank, compare, largest_bound, peak
from xinqiao.prove.lines import Lines, Statement
from xinqiao.prove.partings import in_order
from xinqiao.record.schema import ProofRecord, ProofVerdict, RunRecord, Side, Unproven

PARTINGS = 200
_VIRTUAL = "both runs computed on this machine's CPU: they prove the code, not the chip's numerics"


def prove_records(
    originals: Sequence[RunRecord], ports: Sequence[RunRecord], lines: Lines, *, wall_seconds: float
) -> ProofRecord:
    """Compare the runs of all ranks, in the order of their ranks."""
    ranks = [compare(before, after, lines) for before, after in zip(originals, ports, strict=True)]
    partings = list(in_order([p for rank in ranks for p in rank.partings]))
    limit, dtype = largest_bound([*originals, *ports])
    changed = lines.changed()
    walks = [rank.walk for rank in ranks]
    return ProofRecord(
        verdict=_verdict({p.weight for p in partings}),
        original=_side(originals),
        port=_side(ports),
        ranks=len(ranks),
        numbers=sum(w.numbers for w in walks),
        numbers_equal=sum(w.numbers_equal for w in walks),
        printed=sum(r.printed for r in ranks),
        printed_equal=sum(r.printed_equal for r in ranks),
        calls=sum(w.calls for w in walks),
        calls_equal=sum(w.calls_equal for w in walks),
        modules=sum(len(w.modules) for w in walks),
        modules_equal=sum(len(w.modules - w.modules_apart) for w in walks),
        bound=limit,
        bound_reason=why(dtype),
        partings=partings[:PARTINGS],
        changed=len(changed),
        unproven=_unproven(changed, ports),
        wall_seconds=wall_seconds,
        caveats=_caveats(ranks, originals, ports),
    )


def _verdict(weights: set[str]) -> ProofVerdict:
    return "differs" if "differs" in weights else "close" if "close" in weights else "same"


def _side(runs: Sequence[RunRecord]) -> Side:
    first = runs[0]
    return Side(
        chip=first.chip, title=first.title, virtual=first.virtual, argv=first.argv,
        exit_code=max(run.exit_code for run in runs), wall_seconds=max(run.wall_seconds for run in runs),
        peak_bytes=max(peak(run) for run in runs),
    )  # fmt: skip


def _unproven(changed: Sequence[Statement], ports: Sequence[RunRecord]) -> list[Unproven]:
    """A statement is proven where any of its lines ran, on any rank."""
    ran = {(file, n) for run in ports if run.evidence for file, lines in run.evidence.reached.items() for n in lines}
    return [
        Unproven(file=s.file, line=s.first, text=s.text)
        for s in changed
        if not any((s.file, n) in ran for n in range(s.first, s.last + 1))
    ]


def _caveats(ranks: Sequence[Rank], originals: Sequence[RunRecord], ports: Sequence[RunRecord]) -> list[str]:
    notes = [_VIRTUAL] if originals[0].virtual and ports[0].virtual else []
    left_out = max((run.evidence.left_out for run in [*originals, *ports] if run.evidence), default=0)
    if left_out:
        notes.append(f"only the first million calls are compared; {left_out} more ran")
    if not any(rank.walk.calls for rank in ranks):
        notes.append("no call of the device has a counterpart: did the program use the device?")
    return notes
