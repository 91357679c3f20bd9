"""A plan, a conversion and a check, for people."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from xinqiao.convert.layouts import LAYOUTS, concerns
from xinqiao.convert.manifest import Converted, Manifest
from xinqiao.convert.notes import source_words
from xinqiao.convert.plan import AS_IT_WAS
from xinqiao.convert.run import Conversion
from xinqiao.convert.verify import Verification

MANY = 20  # findings or notes that are printed one by one


def plan_text(conversion: Conversion) -> str:
    """What would be written: formats, why, sizes, shards, the disk that it takes."""
    plan = conversion.plan
    groups: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for job in plan.jobs:
        old = job.weight.codes.nbytes + (job.weight.scales.nbytes if job.weight.scales else 0)
        group = groups[job.layout or AS_IT_WAS, job.reason]
        group[0], group[1], group[2] = group[0] + 1, group[1] + old, group[2] + job.nbytes
    lines = [
        f"{count:6} weights  {old / 1e9:9.3f} → {new / 1e9:9.3f} GB  {layout}: {reason}"
        for (layout, reason), (count, old, new) in sorted(groups.items(), key=lambda item: -item[1][2])
    ]
    lines.append(
        f"{plan.nbytes / 1e9:.3f} GB in {len(plan.shards)} shard(s); {conversion.bytes_to_write / 1e9:.3f} GB to write"
    )
    lines.append(f"programs that load {plan.request.layout}: {LAYOUTS[plan.request.layout].loads}")
    lines += map(tame, concerns((job.weight.name, job.weight.shape, job.layout) for job in plan.jobs))
    return "\n".join(lines)


def plan_rows(conversion: Conversion) -> dict[str, Any]:
    """The same for programs: every weight with its new format and why."""
    plan = conversion.plan
    weights = [
        {
            "name": job.weight.name,
            "shape": job.weight.shape,
            "source": source_words(job.weight),
            "format": job.layout or AS_IT_WAS,
            "reason": job.reason,
            "nbytes": job.nbytes,
            "shard": shard.name,
        }
        for shard in plan.shards
        for job in shard.jobs
    ]
    head = {"schema": 1, "kind": "plan", "layout": plan.request.layout, "rule": plan.request.rule}
    return head | {"nbytes": plan.nbytes, "nbytes_to_write": conversion.bytes_to_write, "weights": weights}


def tame(text: str) -> str:
    """Names out of files cannot move the cursor, change colours or turn the line around."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def summary(manifest: Manifest) -> str:
    """How each format came out: how many weights, exact or how far off, and what is worth knowing."""
    groups: dict[str, list[Converted]] = defaultdict(list)
    for row in manifest.weights:
        groups[row.format].append(row)
    known = map(tame, concerns((row.name, row.shape, row.format) for row in manifest.weights))
    return "\n".join([*(_group(name, rows) for name, rows in groups.items()), *known, *_notes(manifest.weights)])


def _group(name: str, rows: list[Converted]) -> str:
    exact = [row for row in rows if row.exact]
    distances = [row.distance for row in rows if row.distance and row.distance.sqnr_db is not None]
    words = f"{len(rows):6} weights  {name}: "
    if len(exact) == len(rows):
        return words + ("exact" if name != AS_IT_WAS else "copied")
    db = sorted(d.sqnr_db for d in distances if d.sqnr_db is not None)
    words += f"{len(exact)} exact, " if exact else ""
    words += f"{db[len(db) // 2]:.1f} dB in the middle, {db[0]:.1f} dB at worst"
    for key in ("saturated", "underflowed", "nonfinite"):
        if total := sum(getattr(d, key) for d in distances):
            words += f", {total} values {key}"
    return words


def _notes(rows: list[Converted]) -> Iterator[str]:
    noted = [row for row in rows if row.note]
    for row in noted[:MANY]:
        yield tame(f"{row.name}: {row.note}")
    if len(noted) > MANY:
        yield f"and {len(noted) - MANY} more weights with such a note; see the manifest"


def verification_text(found: Verification) -> str:
    """One line for each finding, or one that says what was checked."""
    if not found.findings and found.against == "source":
        words = "each within its format's rounding of the source; there is no manifest, so no hash was checked"
        return f"{found.tensors} weights, {found.nbytes / 1e9:.3f} GB: {words}"
    if not found.findings:
        return f"{found.tensors} tensors, {found.nbytes / 1e9:.3f} GB: all as written, checked against {found.against}"
    lines = [tame(f"{finding.where}: {finding.what}") for finding in found.findings[:MANY]]
    if len(found.findings) > MANY:
        lines.append(f"and {len(found.findings) - MANY} more")
    return "\n".join(lines)
