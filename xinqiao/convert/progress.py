"""How far a long piece of work is: a bar on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY = 10.0  # seconds between two lines where there is no terminal


@contextmanager
def shown(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that is told of bytes that are done, from any thread. total: bytes."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(TextColumn(what), *columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total)
            yield lambda nbytes: bar.advance(task, nbytes)
    else:
        yield _lines(what, total)


def _lines(what: str, total: int) -> Callable[[int], None]:
    begun = last = time.monotonic()
    done = 0
    lock = threading.Lock()

    def advance(nbytes: int) -> None:
        nonlocal done, last
        with lock:
            done += nbytes
            now = time.monotonic()
            if now - last < EVERY:
                return
            last = now
            speed = done / (now - begun)
            left = (total - done) / speed if speed else 0
            print(
                f"xinqiao: {what}: {done / 1e9:.2f} of {total / 1e9:.2f} GB, {speed / 1e9:.2f} GB/s, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    return advance
