"""An environment of its own for what a benchmark compares with, in build/NAME: `python benchmarks/peers.py NAME`, once.

NAME is that of a requirements-NAME.txt beside this file. The environment also sees the packages of the Python that made
it, so that PyTorch is not installed a second time. A program that imports this module before PyTorch runs on the CPU
alone, in either environment.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parent / "build"
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
sys.modules["torchvision"] = None  # where it is built for another PyTorch, its import fails; nothing here needs it


def python(name: str) -> Path | None:
    """The environment's interpreter, if it was made."""
    found = BUILD / name / "bin" / "python"
    return found if (BUILD / name / ".ready").exists() else None


def how(name: str) -> str:
    """What to type for it."""
    return f"python benchmarks/peers.py {name}"


def make(name: str) -> None:
    folder = BUILD / name
    venv.create(folder, with_pip=True, clear=True)
    scheme = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", vars=scheme))
    # addsitedir and not a bare path: packages installed to be edited are found too.
    own.joinpath("maker.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for extra, part in (((), f"requirements-{name}.txt"), (("--no-deps",), f"requirements-{name}-no-deps.txt")):
        if (HERE / part).exists():
            command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *extra]
            subprocess.run([*command, "-r", str(HERE / part)], check=True)
    (folder / ".ready").touch()


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not python(argument):
            make(argument)
