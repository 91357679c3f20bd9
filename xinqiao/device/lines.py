"""Which Python lines are the user's, and how they are written."""

import os
import sysconfig
from pathlib import Path

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
LIBRARY_PREFIXES = (
    _PACKAGE,
    str(Path(sysconfig.get_paths()["purelib"]) / "torch") + os.sep,
    sysconfig.get_paths()["stdlib"] + os.sep + "threading",
)


def is_user_file(file: str) -> bool:
    """Whether a source file is neither torch's nor this package's."""
    return not file.startswith(("<", *LIBRARY_PREFIXES))


def shown(file: str, line: int, function: str) -> str:
    """'train.py:41 in main', the file relative to the working folder where it is inside."""
    here = os.getcwd() + os.sep
    return f"{file.removeprefix(here)}:{line}" + (f" in {function}" if function and function != "<module>" else "")
