"""A Python for the tests' programs that need not import PyTorch anew: it forks from a process that has imported it.

Not for programs that compile, or whose start, memory or sudden end is what a test is about. A test file's first program
really starts, so that real starts stay tested; see `start.py` for what else does.
"""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

HERE, REAL = Path(__file__).parent, sys.executable
_started: set[str] = set()


def python() -> str:
    """What to start in place of sys.executable: that itself for the first call of a test file, and outside Linux."""
    if sys.platform != "linux":
        return REAL
    file = os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]
    if file not in _started:
        _started.add(file)
        return REAL
    return _interpreter()


@cache
def _interpreter() -> str:
    """A program that stands for Python's own, for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "python"
    settings = {"PYTHON": REAL, "FOLDER": str(folder), "OWNER": os.getpid(), "SERVER": str(HERE / "server.py")}
    head = "".join(f"{name} = {value!r}\n" for name, value in settings.items())
    path.write_text(f"#!{REAL} -IS\n{head}{(HERE / 'start.py').read_text()}")
    path.chmod(0o755)
    return str(path)


@contextmanager
def launches() -> Iterator[None]:
    """What the block has this package start is started by `python()`."""
    real, sys.executable = sys.executable, python()
    try:
        yield
    finally:
        sys.executable = real
