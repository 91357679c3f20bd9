"""A proof on the terminal: the verdict first, then where the runs part, then what is unproven."""

from collections.abc import Iterator

from xinqiao.record.schema import Parting, ProofRecord, Side, Site

SHOWN = 8
_HEADS = {
    "same": "same: the port computes what the original computes, bit for bit",
    "close": "close: the port computes what the original computes, within the bound",
    "differs": "differs",
}


def text(proof: ProofRecord) -> str:
    """All lines, without control characters."""
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in _lines(proof))


def _lines(proof: ProofRecord) -> Iterator[str]:
    differing = [p for p in proof.partings if p.weight == "differs"]
    head = _HEADS[proof.verdict]
    yield f"{head}: {_place(differing[0])}: {differing[0].message}" if differing else head
    yield f"  original on {_chip(proof.original)}, port on {_chip(proof.port)}"
    counts = [
        f"{proof.numbers_equal:,} of {proof.numbers:,} numbers read back",
        f"{proof.printed_equal:,} of {proof.printed:,} printed lines",
        f"{proof.calls_equal:,} of {proof.calls:,} calls in {proof.modules_equal:,} of {proof.modules:,} modules",
    ]
    yield f"  {', '.join(counts)} are the same"
    if proof.verdict == "close":
        yield f"  bound {proof.bound:.3g}: {proof.bound_reason}"
    for parting in [p for p in proof.partings if p.weight != "note"][:SHOWN]:
        yield from _parting(parting)
    notes = [p for p in proof.partings if p.weight == "note"]
    for parting in notes[:SHOWN]:
        yield f"  note: {_place(parting)}: {parting.message}" if parting.port else f"  note: {parting.message}"
    yield f"  {proof.changed - len(proof.unproven)} of {proof.changed} changed statements ran"
    for statement in proof.unproven[:SHOWN]:
        yield f"  unproven: {statement.file}:{statement.line}: {statement.text}"
    if len(proof.unproven) > SHOWN:
        yield f"  unproven: {len(proof.unproven) - SHOWN} more (--format json lists all)"
    for caveat in proof.caveats:
        yield f"  {caveat}"


def _parting(parting: Parting) -> Iterator[str]:
    where = f" in {parting.module}" if parting.module else ""
    operator = f" {parting.operator}" if parting.operator else ""
    distance = f" (relative distance {parting.distance:.3g})" if parting.distance is not None else ""
    yield f"  {parting.weight}: {_place(parting)}{where}:{operator} {parting.message}{distance} [{parting.kind}]"
    for detail in parting.details:
        yield f"      {detail}"


def _place(parting: Parting) -> str:
    here = _site(parting.port) if parting.port else "the run"
    before = parting.original
    moved = (
        before is not None
        and parting.port is not None
        and (before.file, before.line) != (parting.port.file, parting.port.line)
    )
    return f"{here} (original {_site(before)})" if moved and before else here


def _site(site: Site) -> str:
    return f"{site.file}:{site.line}" if site.line else site.function or "the run"


def _chip(side: Side) -> str:
    return f"a virtual {side.title}" if side.virtual else side.title
