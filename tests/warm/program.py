"""A program in a process that was forked for it: what Python's own start would do, and PyTorch not yet imported."""

import atexit
import ctypes
import importlib.machinery
import os
import runpy
import sys
import types
from pathlib import Path
from typing import NamedTuple


class Request(NamedTuple):
    """python: what was started in the interpreter's place. words: its arguments."""

    python: str
    words: list[str]
    environment: dict[bytes, bytes]
    folder: str


def run(request: Request) -> None:
    """Never returns where the program fails: an error's traceback begins with the program's own first frame."""
    atexit.register(leave_at_once)
    os.chdir(request.folder)
    os.environ.clear()
    os.environb.update(request.environment)
    sys.executable, sys.orig_argv = request.python, [request.python, *request.words]
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    try:
        _start(request.words, main)
    except Exception as error:  # noqa: BLE001  (whatever a program raises)
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.exit(1)


def leave_at_once() -> None:
    """A program that never imported PyTorch does not run the ends of its libraries either, after Python's own end."""
    libc = ctypes.CDLL(None)
    libc.on_exit(libc._exit, None)


def _start(words: list[str], main: types.ModuleType) -> None:
    what, *rest = words
    if what == "-m":
        name, *arguments = rest
        sys.argv = ["-m", *arguments]
        sys.path[:0] = [os.getcwd(), *_python_path()]
        runpy._run_module_as_main(name)
        return
    if what == "-c":
        text, *arguments = rest
        sys.argv = ["-c", *arguments]
        sys.path[:0] = ["", *_python_path()]
        exec(compile(text, "<string>", "exec", dont_inherit=True), main.__dict__)
        return
    file = os.path.join(os.getcwd(), what.removeprefix("./"))
    sys.argv = words
    sys.path[:0] = [str(Path(what).resolve().parent), *_python_path()]
    main.__dict__.update(__file__=file, __cached__=None)
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", file)
    exec(compile(Path(file).read_bytes(), file, "exec", dont_inherit=True), main.__dict__)


def _python_path() -> list[str]:
    found = os.environ.get("PYTHONPATH")
    return [os.path.abspath(entry) for entry in found.split(os.pathsep)] if found else []
