"""Which Python lines are the user's, and how they are written."""

import os
import sys
import sysconfig
from functools import cache
from pathlib import Path

import torch

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
LIBRARY_PREFIXES = (
    _PACKAGE,
    str(Path(torch.__file__).parent) + os.sep,
    sysconfig.get_paths()["stdlib"] + os.sep + "threading",
)


@cache
def package_folders() -> tuple[Path, ...]:
    """Where packages are installed, as this interpreter finds them."""
    named = (Path(p) for p in sys.path if Path(p).name in ("site-packages", "dist-packages"))
    return tuple(dict.fromkeys([Path(torch.__file__).parents[1], *named]))


def is_user_file(file: str) -> bool:
    """Whether a source file is neither torch's nor this package's."""
    return not file.startswith(("<", *LIBRARY_PREFIXES))


def shown(file: str, line: int, function: str) -> str:
    """'train.py:41 in main', the file relative to the working folder where it is inside."""
    here = os.getcwd() + os.sep
    return f"{file.removeprefix(here)}:{line}" + (f" in {function}" if function and function != "<module>" else "")
