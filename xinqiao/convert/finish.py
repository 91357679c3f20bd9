"""What lies around the shards: other files, configuration, index and, last of all, the manifest."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from xinqiao.convert.files import write_whole
from xinqiao.convert.layouts import LAYOUTS, config, extra_files
from xinqiao.convert.manifest import NAME, Converted, Manifest, SourceFile, encode
from xinqiao.convert.plan import Plan
from xinqiao.convert.source import Checkpoint

INDEX = "model.safetensors.index.json"
CONFIG = "config.json"


def write_rest(
    checkpoint: Checkpoint,
    plan: Plan,
    source: Mapping[str, SourceFile],
    key: str,
    rows: Sequence[Converted],
    out: Path,
) -> None:
    """Write every file of the result that is no shard; the manifest tells that all is there."""
    files = rest(checkpoint, plan, rows)
    for name, data in files.items():
        write_whole(out / name, data)
    manifest = Manifest(
        plan=key,
        layout=plan.request.layout,
        rule=plan.request.rule,
        source=dict(source),
        weights=list(rows),
        files={name: blake3(data).hexdigest() for name, data in files.items()},
    )
    write_whole(out / NAME, encode(manifest))


def rest(checkpoint: Checkpoint, plan: Plan, rows: Sequence[Converted]) -> dict[str, bytes]:
    """Name → content, in the order in which they are written: configuration and index last."""
    layout = LAYOUTS[plan.request.layout]
    files = {path.name: path.read_bytes() for path in checkpoint.others}
    files |= checkpoint.texts
    formats, kept = modules(plan)
    files |= extra_files({output.name: job.layout for job in plan.jobs for output in job.outputs})
    if checkpoint.config:
        files[CONFIG] = _with_infinities(config(layout, checkpoint.config, formats, kept))
    if len(plan.shards) > 1:
        files[INDEX] = encode(index(rows))
    return files


def _with_infinities(config: dict[str, Any]) -> bytes:
    """JSON as Hugging Face writes it: some models' configurations hold Infinity."""
    return json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n"


def index(rows: Iterable[Converted]) -> dict[str, object]:
    """What model.safetensors.index.json says: the shard of every tensor."""
    parts = sorted((part for row in rows for part in row.parts), key=lambda part: part.name)
    return {
        "metadata": {"total_size": sum(part.nbytes for part in parts)},
        "weight_map": {part.name: part.shard for part in parts},
    }


def modules(plan: Plan) -> tuple[dict[str, list[str]], list[str]]:
    """(layout → the modules quantised in it, the modules of matrices that are not)."""
    formats: dict[str, list[str]] = {}
    kept = []
    for job in plan.jobs:
        name = job.weight.name.removesuffix(".weight")
        if job.layout and LAYOUTS[job.layout].scale:
            formats.setdefault(job.layout, []).append(name)
        elif len(job.weight.shape) > 2 and name.rpartition(".")[0].endswith(".experts"):  # in one parameter
            kept.append(name.rpartition(".")[0])
        elif len(job.weight.shape) >= 2 and job.weight.name.endswith(".weight") and "embed" not in name:
            kept.append(name)
    return formats, list(dict.fromkeys(kept))
