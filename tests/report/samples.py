"""Small records to draw."""

from typing import get_args

from xinqiao.record.schema import (
    Collective,
    Holder,
    Incident,
    Memory,
    MemoryPoint,
    Occurrence,
    OperatorRow,
    Parting,
    PortedFile,
    PortRecord,
    ProofRecord,
    Readback,
    RunRecord,
    Side,
    Site,
    StreamClock,
    Summary,
    Unproven,
    Verdict,
)


def operator(**changes):
    row = {
        "operator": "aten::mm",
        "dtype": "bfloat16",
        "shapes": [[4, 4], [4, 4], [4, 4]],
        "count": 3,
        "seconds": 1e-3,
        "flops": 384.0,
        "bytes": 288.0,
        "support": "native",
    }
    return OperatorRow(**{**row, **changes})


def incident(**changes):
    fields = {
        "operator": "aten::isin",
        "dtype": "int64",
        "support": "fallback",
        "count": 2,
        "line": "train.py:9 in main",
        "reason": "no kernel is declared",
        "source": "a table",
    }
    return Incident(**{**fields, **changes})


def run(*, values=(1.5, 2.25, 3.0), line="train.py:7 in main", **changes):
    fields = {
        "chip": "a-chip",
        "title": "A",
        "virtual": True,
        "mode": "values",
        "device": "npu",
        "argv": ["train.py", "--steps", "3"],
        "rank": 0,
        "ranks": 1,
        "versions": {"torch": "2.13.0"},
        "seed": 1,
        "exit_code": 0,
        "wall_seconds": 2.0,
        "predicted_seconds": 0.0123,
        "operators": [operator(), operator(operator="aten::strange", support="unknown", seconds=2e-4)],
        "memory": [
            Memory(
                device=0,
                capacity=64 * 2**30,
                peak=3_000_000,
                end=1_000_000,
                curve=[MemoryPoint(seconds=i / 10, bytes=i % 4 * 1_000_000) for i in range(12)],
                holders=[Holder(bytes=2_000_000, line=line, module="Net.body.0")],
            )
        ],
        "collectives": [Collective(operator="allreduce_", backend="hccl", count=2, bytes=4096, seconds=1e-4)],
        "streams": [StreamClock(device=0, stream=0, seconds=0.0123)],
        "incidents": [],
        "readbacks": [Readback(line=line, values=list(values))],
        "caveats": ["memory bandwidth is not known"],
    }
    return RunRecord(**{**fields, **changes})


def occurrence(**changes):
    fields = {
        "file": "train.py",
        "line": 3,
        "column": 1,
        "end_line": 3,
        "end_column": 9,
        "rule": "device-strings",
        "verdict": "rewritten",
        "before": '"cuda"',
        "after": "ACCELERATOR",
        "reason": "the device's name comes from PyTorch",
    }
    return Occurrence(**{**fields, **changes})


def port(*, occurrences=None, title="A", **changes):
    found = [occurrence(), occurrence(verdict="needs-you", after="")] if occurrences is None else occurrences
    counts = {v.replace("-", "_").removesuffix("_by_chip"): 0 for v in get_args(Verdict)}
    for o in found:
        counts[o.verdict.replace("-", "_").removesuffix("_by_chip")] += 1
    summary = Summary(title=title, style="agnostic", files=7, lines=411, changed=1, seconds=0.1, **counts)
    files = [PortedFile(file="train.py", changed=True)]
    return PortRecord(**{"chip": "a-chip", "files": files, "occurrences": found, "summary": summary, **changes})


def site(line=5, file="model.py", function="forward"):
    return Site(file=file, line=line, function=function)


def parting(**changes):
    fields = {
        "kind": "values",
        "weight": "differs",
        "rank": 0,
        "order": 17,
        "message": "computes other values",
        "original": site(5),
        "port": site(7),
        "module": "Net.body.0",
        "operator": "aten::mm",
        "distance": 0.25,
        "details": ["original: float32[4, 4]", "port:     float32[4, 4]"],
    }
    return Parting(**{**fields, **changes})


def side(**changes):
    fields = {
        "chip": "a-chip",
        "title": "A",
        "virtual": True,
        "argv": ["train.py"],
        "exit_code": 0,
        "wall_seconds": 3.0,
        "peak_bytes": 3 * 2**20,
    }
    return Side(**{**fields, **changes})


def unproven(line=9, text="x = x.to(ACCELERATOR)"):
    return Unproven(file="model.py", line=line, text=text)


def proof(**changes):
    """Of a port that computes the same, without any loose end."""
    fields = {
        "verdict": "same",
        "original": side(),
        "port": side(chip="b-chip", title="B"),
        "ranks": 1,
        "numbers": 3,
        "numbers_equal": 3,
        "printed": 2,
        "printed_equal": 2,
        "calls": 1500,
        "calls_equal": 1500,
        "modules": 8,
        "modules_equal": 8,
        "bound": 3.8e-6,
        "bound_reason": "float32 rounds",
        "partings": [],
        "changed": 4,
        "unproven": [],
        "wall_seconds": 6.0,
        "caveats": [],
    }
    return ProofRecord(**{**fields, **changes})
