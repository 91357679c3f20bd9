"""The programs of the benchmark: their environment, where they lie, and running them on virtual chips."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from port_sdists import CACHE, HERE, Package, tree

ROOT = HERE.parent
PROGRAMS = HERE / "port_programs"
PROGRAM = "port_program.py"
HELPERS = ("torchvision_schemas", "numpy_1_names")  # modules that some programs import
_SECONDS = 300


@dataclass(frozen=True)
class Run:
    """What a program printed, and how many operators it ran on the chip; `error` is the last line where it failed."""

    printed: str
    operators: int
    error: str


def environment() -> Path:
    """The site-packages folder with what the packages need beside PyTorch, made once for each list of requirements."""
    wanted = PROGRAMS / "requirements.txt"
    folder = CACHE / f"environment-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        site, mine = next(folder.glob("lib/python*/site-packages")), sysconfig.get_path("purelib")
        (site / "torch.pth").write_text(f"import site; site.addsitedir({mine!r})\n")  # pip sees that PyTorch is there
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-qq", "-r", str(wanted)], check=True)
        (folder / "ready").touch()
    return next(folder.glob("lib/python*/site-packages"))


def lay_out(package: Package, folder: Path) -> Path:
    """A copy of the package's sources, with its program beside them; the program's path is `script(package)`."""
    shutil.copytree(tree(package), folder)
    if package.program:
        shutil.copy(PROGRAMS / f"{package.program}.py", folder / script(package))
        text = (folder / script(package)).read_text()
        for helper in HELPERS:
            if helper in text:
                shutil.copy(PROGRAMS / f"{helper}.py", (folder / script(package)).parent)
    return folder


def script(package: Package) -> Path:
    """Where the program lies, relative to the package's folder: beside its modules."""
    return Path(package.sources, PROGRAM)


def xinqiao(*words: str | Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`xinqiao WORDS`, as a user types it, with `path` on the module path; exit code 124 where it does not end."""
    command = [sys.executable, "-m", "xinqiao.cli", *map(str, words)]
    try:
        return subprocess.run(
            command, env=_environment(path), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no end after {_SECONDS} s")


def run(package: Package, folder: Path, chip: str, patch: str = "") -> Run:
    """The package's program in a folder on a virtual chip, through one of `port_patches` where it is named."""
    path = folder / script(package)
    command = [sys.executable, *([HERE / "port_patches" / f"{patch}.py"] if patch else []), path.name]
    with tempfile.TemporaryDirectory() as temporary:
        record = Path(temporary) / "record.json"
        words = _environment(environment(), XINQIAO_CHIP=chip, XINQIAO_HOST_RNG="1", XINQIAO_RECORD=str(record))
        try:
            done = subprocess.run(
                list(map(str, command)),
                cwd=path.parent,
                env=words,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Run("", 0, f"no end after {_SECONDS} s")
        operators = json.loads(record.read_text())["operators"] if record.exists() else []
    error = next((w for w in reversed(done.stderr.strip().splitlines()) if w.strip()), "") if done.returncode else ""
    return Run(done.stdout, sum(o["count"] for o in operators), error)


def prove(package: Package, original: Path, port: Path, chip: str) -> tuple[str, str, int]:
    """(verdict of `xinqiao prove`, what parts first, calls compared); 'fails' where a program does not end well."""
    words = ("prove", original, port, "--chip", chip, "--format", "json", "--", script(package))
    done = xinqiao(*words, path=environment())
    if done.returncode not in (0, 1):
        return "fails", done.stderr.strip()[-300:], 0
    proof = json.loads(done.stdout)
    return proof["verdict"], next((p["message"] for p in proof["partings"]), ""), proof["calls"]


def _environment(path: Path | None, **more: str) -> dict[str, str]:
    modules = os.pathsep.join(str(p) for p in (ROOT, path) if p)
    return {**os.environ, "PYTHONPATH": modules, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}
