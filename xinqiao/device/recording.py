"""What a run on the virtual chip leaves behind: its record and, if asked for, its timeline."""

import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch

from xinqiao.cost import roofline
from xinqiao.cost.aten import kernel as lower
from xinqiao.device import dtypes
from xinqiao.device.core import STREAMS, MemoryFigures
from xinqiao.device.judge import unpack
from xinqiao.device.lines import shown
from xinqiao.device.session import Session
from xinqiao.record.schema import (
    Collective,
    Holder,
    Incident,
    Memory,
    MemoryPoint,
    OperatorRow,
    Readback,
    RunRecord,
    StreamClock,
)

HOLDERS = 40


def build(session: Session, *, started: float, exit_code: int, rank: int, ranks: int) -> RunRecord:
    """The record of this process so far. started: time.monotonic() when the run began."""
    rows = _operators(session)
    used = [d for d in range(session.devices) if session.core.memory_of(d).allocations]
    streams = [StreamClock(device=d, stream=s, seconds=clock) for d in used or [0] for s in range(STREAMS)
               if (clock := session.core.clock_of(d, s))]  # fmt: skip
    return RunRecord(
        chip=session.chip.name,
        title=session.chip.title,
        virtual=True,
        mode="shapes" if session.shapes else "values",
        device=session.chip.torch.device,
        argv=sys.argv,
        rank=rank,
        ranks=ranks,
        versions={"python": platform.python_version(), "torch": str(torch.__version__), "xinqiao": version("xinqiao")},
        seed=torch.initial_seed(),
        exit_code=exit_code,
        wall_seconds=time.monotonic() - started,
        predicted_seconds=max((s.seconds for s in streams), default=0.0),
        operators=rows,
        memory=[_memory(session, d, session.core.memory_of(d)) for d in used],
        collectives=_collectives(session),
        streams=streams,
        incidents=_incidents(session),
        readbacks=[Readback(line=_line(session, site), values=values) for site, values in session.core.readbacks()],
        caveats=_caveats(session, rows),
    )


def _operators(session: Session) -> list[OperatorRow]:
    rows = []
    for row in session.core.rows():
        if not row.calls:
            continue  # a mark of the journal
        call = unpack(row.operator, row.shapes)
        answer = session.judge.answers.get((call.operator, row.dtype))
        kernel = lower(call.operator, call.dtype, call.inputs, call.outputs)
        kernel = kernel._replace(flops=row.flops / row.calls)
        rows.append(
            OperatorRow(
                operator=call.operator,
                dtype=call.dtype,
                shapes=[list(t.shape) for t in (*call.inputs, *call.outputs)],
                count=row.calls,
                seconds=row.seconds,
                flops=row.flops,
                bytes=row.bytes,
                support=answer.state if answer else "native",
                kind=kernel.kind,
                bound=session.judge.price.kernel(kernel).bound,
            )
        )
    return sorted(rows, key=lambda r: (-r.seconds, r.operator, r.dtype, r.shapes))


def _line(session: Session, site: int) -> str:
    file, line, function = session.core.site_of(site)
    return shown(file, line, function) if line else file


def _memory(session: Session, device: int, figures: MemoryFigures) -> Memory:
    modules = session.watch.modules if session.watch else [""]
    holders = [
        Holder(bytes=size, line=_line(session, site), module=modules[module])
        for site, module, size in session.core.holders(device)
    ]
    return Memory(
        device=device,
        capacity=figures.capacity or None,
        peak=figures.peak,
        end=figures.current,
        curve=[MemoryPoint(seconds=s, bytes=b) for s, b in session.core.memory_curve(device)],
        parts=session.held.parts(device) if session.held else {},
        holders=sorted(holders, key=lambda h: (-h.bytes, h.line, h.module))[:HOLDERS],
    )


def _collectives(session: Session) -> list[Collective]:
    if session.collectives is None:
        return []
    return [
        Collective(operator=operator, backend=backend, count=t.count, bytes=t.bytes, seconds=t.seconds)
        for (operator, backend), t in sorted(session.collectives.traffic.items())
    ]


def _incidents(session: Session) -> list[Incident]:
    found = []
    for operator, code, count in session.core.incidents():
        answer = session.judge.answers[operator, code]
        if answer.state in ("fallback", "refused"):
            line = session.judge.lines[operator, code]
            found.append(
                Incident(operator=operator, dtype=dtypes.name(code), support=answer.state, count=count, line=line,
                         reason=answer.reason, source=answer.source)
            )  # fmt: skip
    return found


def _caveats(session: Session, rows: list[OperatorRow]) -> list[str]:
    used = sorted({r.dtype for r in rows if r.flops})
    notes = [f"{what} is not known: predicted times leave it out and are lower bounds"
             for what in roofline.unknown_figures(session.chip, used)]  # fmt: skip
    notes += session.judge.composed
    if not session.chip.per_device().capacity:
        notes.append("memory capacity is not known: nothing was refused for want of memory")
    return notes


def write_trace(session: Session, path: Path) -> None:
    """The simulated timeline in Chrome's trace format (Perfetto opens it); times in microseconds."""
    events: list[dict[str, object]] = [
        {"name": name, "ph": "X", "pid": device, "tid": stream, "ts": start * 1e6, "dur": seconds * 1e6}
        for name, device, stream, start, seconds in session.core.timeline()
    ]
    for device in range(session.devices):
        if not session.core.memory_of(device).allocations:
            continue
        title = f"{session.chip.title} (virtual) {session.chip.torch.device}:{device}"
        events.append({"name": "process_name", "ph": "M", "pid": device, "args": {"name": title}})
        events += [
            {"name": "memory", "ph": "C", "pid": device, "ts": seconds * 1e6, "args": {"bytes": size}}
            for seconds, size in session.core.memory_curve(device)
        ]
    path.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}))
