"""The end of a process: let autograd's device threads come to rest first.

A device thread lets go of the last graph after `backward()` has returned, and needs the interpreter's lock for that.
Where the interpreter is already shutting down, Python ends such a thread in the middle of C++ code, and the process
aborts. A program on a real device seldom ends so soon after its last backward pass; a small one on a virtual chip does.
"""

import atexit
import os
import threading
import time
from pathlib import Path

PATIENCE = 1.0  # seconds at most
PAUSE = 0.002  # seconds without the interpreter's lock


def settle_at_exit() -> None:
    """Have the process wait at its end until no other thread is running."""
    atexit.register(_settle)


def _settle() -> None:
    end, quiet = time.monotonic() + PATIENCE, 0
    while quiet < 3 and time.monotonic() < end:
        time.sleep(PAUSE)
        quiet = 0 if _others_run() else quiet + 1


def _others_run() -> bool:
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return False
    mine = threading.get_native_id()
    return any(_state(tasks / name) == "R" for name in os.listdir(tasks) if name != str(mine))


def _state(task: Path) -> str:
    """'R' for a thread that runs or could, 'S' for one that waits; '' for one that is gone."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
