"""A whole process on a chip: from `import torch` to the record that is written at its end."""

import atexit
import os
import sys
import time
from types import TracebackType

from xinqiao.chips import catalog
from xinqiao.device import recording, session
from xinqiao.device.evidence import Keeper, of_virtual
from xinqiao.device.process_files import ranked
from xinqiao.device.real import RealRun
from xinqiao.device.request import asked
from xinqiao.device.settings import Settings, from_environment
from xinqiao.record.files import write
from xinqiao.record.schema import RunRecord

_exit_code = 0
_failure: BaseException | None = None


def begin() -> None:
    """Start what the environment asks for. Processes that this one starts get the chip, but write no record."""
    settings = from_environment()
    if settings is None:
        return
    for name in ("XINQIAO_RECORD", "XINQIAO_TRACE"):
        os.environ.pop(name, None)
    chip = catalog.load(settings.chip)
    started = time.monotonic()
    request = asked(settings.record)
    keeper = Keeper(request) if request else None
    package = session.vendor_package(chip)
    if package:
        print(f"xinqiao: {package} is installed: using the real device, not the virtual one", file=sys.stderr)
        real = RealRun(chip, evidence=keeper is not None) if settings.record else None
        if keeper:
            keeper.watch_cuda(chip.torch.device)
    else:
        virtual = session.virtual(
            chip,
            shapes=settings.shapes,
            policy=settings.policy,
            devices=settings.devices,
            host_rng=settings.host_rng,
        )
        if settings.shapes:
            print("xinqiao: shapes mode: numbers that the program reads from a tensor are fiction", file=sys.stderr)
        if settings.record or settings.trace:
            session.keep_record(virtual, trace=settings.trace is not None, values=keeper is not None)
        if keeper and request:
            keeper.follow(virtual, request)
        real = None
    if settings.record or settings.trace:
        _follow_exit_code()
        atexit.register(_finish, settings, started, real, keeper)


def _finish(settings: Settings, started: float, real: RealRun | None, keeper: Keeper | None) -> None:
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if settings.record:
        record: RunRecord
        if real is not None:
            record = real.record(started=started, exit_code=_exit_code, rank=rank, ranks=ranks)
            if keeper and real.journal:
                record.evidence = keeper.evidence(real.journal.kept(), _failure)
        else:
            assert session.active is not None
            record = recording.build(session.active, started=started, exit_code=_exit_code, rank=rank, ranks=ranks)
            if keeper:
                record.evidence = keeper.evidence(of_virtual(session.active), _failure)
        write(record, ranked(settings.record, rank))
    if settings.trace and session.active is not None:
        recording.write_trace(session.active, ranked(settings.trace, rank))


def _follow_exit_code() -> None:
    """Python tells nobody at exit how the program ended; these two places know."""
    leave, complain = sys.exit, sys.excepthook

    def exit_(status: object = None) -> None:
        global _exit_code
        _exit_code = status if isinstance(status, int) else int(status is not None)
        leave(status)  # type: ignore[arg-type]

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        global _exit_code, _failure
        _exit_code, _failure = 1, error
        complain(kind, error, trace)

    sys.exit, sys.excepthook = exit_, excepthook  # type: ignore[assignment]
