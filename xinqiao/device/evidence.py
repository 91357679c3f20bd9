"""What `prove` compares runs by: the journal of calls, what was printed, what was reached, what was CUDA-bound."""

import base64
import ctypes
import os
import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from xinqiao.device import dtypes
from xinqiao.device.judge import unpack
from xinqiao.device.lines import package_folders
from xinqiao.device.printed import Printed
from xinqiao.device.reached import Reached
from xinqiao.device.request import Request
from xinqiao.device.session import Session
from xinqiao.device.trap import Trap
from xinqiao.native.fingerprint import kernel
from xinqiao.record.schema import CallKind, CudaUse, Evidence, Failure, Site

SEED = 0  # of Python's, NumPy's and PyTorch's generators, where the program chooses none


@dataclass
class Kept:
    """A journal's parts. sites: (file, line, function), line 0 where there is none. entries: packed; see Evidence."""

    kinds: list[CallKind]
    sites: list[tuple[str, int, str]]
    modules: list[str]
    entries: bytes
    left_out: int


class Keeper:
    """Keeps evidence from the moment it is made."""

    def __init__(self, request: Request) -> None:
        self.root = Path(request.root)
        self.printed = Printed()
        self.reached = Reached(self.root, request.watched)
        self.trap: Trap | None = None
        random.seed(SEED)
        torch.default_generator.manual_seed(SEED)  # PyTorch's own start is another at each start
        if find_spec("numpy"):
            import numpy

            numpy.random.seed(SEED)

    def watch_cuda(self, device: str) -> None:
        """Note what is CUDA-bound, where the device is another."""
        if device != "cuda":
            self.trap = Trap()

    def follow(self, session: Session, request: Request) -> None:
        """Start the journal of a virtual chip."""
        if request.whole:
            folder = request.whole.folder_of(int(os.environ.get("RANK", "0")))
            folder.mkdir(parents=True, exist_ok=True)
            session.core.keep_whole(os.fsencode(folder), request.whole.first, request.whole.last)
        session.core.keep_journal(ctypes.cast(kernel(), ctypes.c_void_p))  # type: ignore[arg-type]
        self.watch_cuda(session.chip.torch.device)

    def evidence(self, kept: Kept, failure: BaseException | None) -> Evidence:
        """All that was kept so far."""
        return Evidence(
            kinds=kept.kinds,
            sites=[self.site(*place) for place in kept.sites],
            modules=kept.modules,
            entries=base64.b64encode(zlib.compress(kept.entries, 1)).decode(),
            left_out=kept.left_out,
            printed=self.printed.lines,
            failure=self._failure(failure) if failure else None,
            cuda_uses=list(self._cuda_uses()),
            reached={file: sorted(set(lines)) for file, lines in self.reached.lines.items()},
        )

    def site(self, file: str, line: int, function: str) -> Site:
        """A line, its file as it is called on any machine."""
        if not line:
            return Site(file="", line=0, function=file)
        path = Path(file)
        if path.is_relative_to(self.root):
            return Site(file=path.relative_to(self.root).as_posix(), line=line, function=function)
        for base in package_folders():
            if path.is_relative_to(base):
                named = f"site-packages/{path.relative_to(base).as_posix()}"
                return Site(file=named, line=line, function=function)
        return Site(file=path.name, line=line, function=function)

    def _cuda_uses(self) -> Iterable[CudaUse]:
        uses = self.trap.uses if self.trap else {}
        for (name, file, line, function), count in sorted(uses.items()):
            yield CudaUse(name=name, site=self.site(file, line, function), count=count)

    def _failure(self, error: BaseException) -> Failure:
        frames = []
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            frames.append(self.site(code.co_filename, trace.tb_lineno, code.co_qualname))
            trace = trace.tb_next
        own = [s for s in frames if not s.file.startswith("site-packages/") and (self.root / s.file).exists()]
        innermost = (own or frames or [Site(file="", line=0, function="")])[-1]
        return Failure(kind=type(error).__name__, message=str(error)[:2000], site=innermost)


def of_virtual(session: Session) -> Kept:
    """The journal of a virtual chip."""
    entries, left_out = session.core.journal()
    modules = session.watch.modules if session.watch else [""]
    return Kept(_kinds(session), list(_sites(session)), modules, entries, left_out)


def _sites(session: Session) -> Iterable[tuple[str, int, str]]:
    number = 0
    while (found := session.core.site_of(number)) and found[1] >= 0:
        yield found
        number += 1


def _kinds(session: Session) -> list[CallKind]:
    kinds: dict[int, CallKind] = {}
    for row in session.core.rows():
        answer = session.judge.answers.get((row.operator, row.dtype))
        call = unpack(row.operator, row.shapes)
        kinds[row.number] = CallKind(
            operator=row.operator,
            dtype=call.dtype if "::" in row.operator and (call.inputs or call.outputs) else "",
            tensors=list(_tensors(row.shapes)),
            inputs=len(call.inputs),
            support=answer.state if answer else "native",
        )
    return [kinds[number] for number in range(len(kinds))]


def _tensors(packed: list[int]) -> Iterable[tuple[str, list[int]]]:
    at = 2 + packed[0]
    while at < len(packed):
        dimensions = packed[at + 1]
        yield dtypes.name(packed[at]), packed[at + 2 : at + 2 + dimensions]
        at += 2 + dimensions
