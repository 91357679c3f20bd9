"""CUDA and C++ sources of a project: a verdict for every entry point, a function to write for what Python calls."""

from bisect import bisect_right
from pathlib import PurePosixPath

from xinqiao.port import stubs
from xinqiao.port.additions import Added
from xinqiao.port.cuda_source import Entry, exported, kernels
from xinqiao.port.engine import Ported
from xinqiao.port.surroundings import Surroundings
from xinqiao.record.schema import Occurrence

RULE = "kernels"
TOO_LARGE = 1_000_000  # bytes of one source


def port_kernel_file(path: str, data: bytes, around: Surroundings) -> Ported:
    """The entry points of one file; nothing in it is rewritten."""
    if len(data) > TOO_LARGE:
        return Ported(path, [_at(path, 1, 1, "", "a CUDA source too large to be read: list its kernels by hand")])
    text = data.decode("utf-8", "replace")
    starts = [0]
    for written in text.split("\n"):
        starts.append(starts[-1] + len(written) + 1)
    found, adds = [], set[Added]()
    bound = exported(text)
    for entry in [*bound, *kernels(text)]:
        line = bisect_right(starts, entry.position)
        column = entry.position - starts[line - 1] + 1
        sites = around.sites.get(entry.name, ()) if entry.kind == "bound" else ()
        found.append(_at(path, line, column, entry.name, _reason(entry, sites)))
        if entry.kind == "bound":
            adds.update(_stub(entry, f"{path}:{line}", sites))
    if not found:
        reason = "CUDA code without an entry point: what uses it needs a version for the chip, or one in PyTorch"
        found.append(_at(path, 1, 1, "", reason))
    return Ported(path, sorted(found, key=lambda o: (o.line, o.column)), adds=adds)


def _reason(entry: Entry, sites: tuple[str, ...]) -> str:
    if entry.kind == "kernel":
        return (
            f"CUDA kernel {entry.signature}: the function that launches it needs a version for the chip, or in PyTorch"
        )
    called = f"called at {', '.join(sites)}" if sites else "its call was not found"
    return (
        f"Python calls {entry.signature}, {called}: write {entry.name}_reference with PyTorch operators in the file "
        "that a port adds, or ask for the vendor's kernel"
    )


def _stub(entry: Entry, where: str, sites: tuple[str, ...]) -> tuple[Added, ...]:
    result = "None" if entry.result in ("void", "", "()") else "Tensor"
    parameters = stubs.parameters_of_c(entry.parameters)
    # Many extensions bind functions of these names; each gets a file of its own.
    stem = PurePosixPath(where).stem.partition(".")[0]
    name = f"{stem}_{entry.name}" if entry.name in ("forward", "backward") and stem.isidentifier() else entry.name
    text = stubs.stub(name, where, parameters, result=result, signature=entry.signature, called=sites)
    return stubs.at_the_top(name, text)


def _at(path: str, line: int, column: int, name: str, reason: str) -> Occurrence:
    end = column + len(name)
    return Occurrence(
        file=path, rule=RULE, verdict="needs-you", before=name, after="", reason=reason,
        line=line, column=column, end_line=line, end_column=end,
    )  # fmt: skip
