"""Compare the records of two runs, rank by rank."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xinqiao.errors import InputError
from xinqiao.prove.bound import bound, coarsest
from xinqiao.prove.calls import Calls
from xinqiao.prove.lines import Lines
from xinqiao.prove.partings import Walk
from xinqiao.prove.scalars import lined_up, printed
from xinqiao.record.schema import Evidence, Parting, RunRecord, Site

MEMORY = 1.2  # how much more device memory passes as another chip's kernels
MIB = 2**20


@dataclass
class Rank:
    """What one rank's two runs had in common, and where they part."""

    walk: Walk
    printed: int = 0
    printed_equal: int = 0
    partings: list[Parting] = field(default_factory=list)


def evidence_of(run: RunRecord) -> Evidence:
    """InputError where the run kept none."""
    if run.evidence is None:
        raise InputError(f"{run.title}: this record has no evidence; `xinqiao run --record FILE --evidence` keeps it")
    return run.evidence


def compare(original: RunRecord, port: RunRecord, lines: Lines) -> Rank:
    """Everything in which the two runs of a rank may differ. lines: how the port's lines map to the original's."""
    kept = evidence_of(original), evidence_of(port)
    rank = Rank(Walk(Calls(kept[0]), Calls(kept[1], lines), port.rank, original.virtual and port.virtual))
    found = rank.partings
    stopped = list(_failure(original, port))
    found += [*stopped, *(p for p in rank.walk.partings if not (stopped and _lost(p)))]
    found += _said(rank, original, port)
    found += _memory(original, port)
    found += _fallbacks(original, port)
    found += _cuda(port)
    return rank


def _lost(parting: Parting) -> bool:
    """A call of the original that the port does not make: after it stopped, that is all of them."""
    return parting.original is not None and parting.port_order < 0


def _parting(run: RunRecord, kind: str, weight: str, message: str, **rest: object) -> Parting:
    parts = {"original": None, "port": None, "module": "", "operator": "", "order": -1, **rest}
    return Parting(kind=kind, weight=weight, rank=run.rank, message=message, **parts)  # type: ignore[arg-type]


def _failure(original: RunRecord, port: RunRecord) -> Iterator[Parting]:
    if not port.exit_code or port.exit_code == original.exit_code:
        return
    failure = evidence_of(port).failure
    if failure is None:
        yield _parting(port, "failure", "differs", f"the port ended with exit code {port.exit_code}", order=0)
    else:
        first_line = failure.message.strip().split("\n")[0]
        said = f"the port stopped: {failure.kind}: {first_line}"
        yield _parting(port, "failure", "differs", said, port=failure.site, order=0)


def _said(rank: Rank, original: RunRecord, port: RunRecord) -> Iterator[Parting]:
    sides = [printed(evidence_of(run).printed, _names(run)) for run in (original, port)]
    pairs, alone = lined_up(*sides)
    rank.printed = len(pairs)
    limit = 0.0 if rank.walk.exact else bound(coarsest(evidence_of(port).kinds))
    for pair in pairs:
        if pair.distance == 0.0:
            rank.printed_equal += 1
        elif rank.printed_equal == rank.printed - 1 or pair.step == 0 or pair.distance > limit:
            weight = "close" if pair.distance <= limit else "differs"
            said = "prints other numbers than the original"
            details = [f"original: {pair.original.text}", f"port:     {pair.port.text}"]
            yield _parting(port, "printed", weight, said, details=details, distance=pair.distance)
            break
    if alone and not port.exit_code:
        said = f"{len(alone)} printed lines with numbers have no counterpart, the first: {alone[0].text[:100]}"
        yield _parting(port, "printed", "note", said)


def _names(run: RunRecord) -> list[str]:
    """Words that stand for the device in what a program prints."""
    collectives = {c.backend for c in run.collectives}
    return [run.title, f"{run.title} (virtual)", run.device, run.device.upper(), *collectives]


def _memory(original: RunRecord, port: RunRecord) -> Iterator[Parting]:
    before, after = peak(original), peak(port)
    if port.exit_code or max(before, after) - min(before, after) < MIB:
        return
    if not before / MEMORY <= after <= before * MEMORY:
        said = f"holds at most {after / MIB:.1f} MiB of device memory, the original {before / MIB:.1f} MiB"
        yield _parting(port, "memory", "differs", said)


def peak(run: RunRecord) -> int:
    """Bytes, the largest of all devices."""
    return max((m.peak for m in run.memory), default=0)


def _fallbacks(original: RunRecord, port: RunRecord) -> Iterator[Parting]:
    ran = {(r.operator, r.dtype) for r in original.operators}
    for incident in port.incidents:
        if incident.support != "fallback":
            continue
        own = (incident.operator, incident.dtype) in ran
        said = f"{incident.operator} for {incident.dtype} runs on the host, slowly" + (
            "" if own else "; the original does not use it"
        )
        site = _site(incident.line)
        yield _parting(port, "fallback", "note" if own else "differs", said, port=site, operator=incident.operator)


def _site(line: str) -> Site:
    """Of 'train.py:41 in main'."""
    place, _, function = line.partition(" in ")
    file, _, number = place.rpartition(":")
    return Site(file=file or place, line=int(number) if number.isdecimal() else 0, function=function)


def _cuda(port: RunRecord) -> Iterator[Parting]:
    uses = evidence_of(port).cuda_uses
    for use in uses:
        if not use.site.file.startswith("site-packages/"):
            said = f"{use.name} is still used, {use.count} time{'s' * (use.count > 1)}"
            yield _parting(port, "cuda", "differs", said, port=use.site)
    inside = sorted({u.site.file.split("/")[1] for u in uses if u.site.file.startswith("site-packages/")})
    if inside:
        said = f"installed packages use torch.cuda on the way: {', '.join(inside)}"
        yield _parting(port, "cuda", "note", said)


def largest_bound(runs: Sequence[RunRecord]) -> tuple[float, str]:
    """(the bound for whole runs, the dtype that sets it)."""
    kinds = [k for run in runs for k in evidence_of(run).kinds]
    dtype = coarsest(kinds)
    return bound(dtype), dtype
