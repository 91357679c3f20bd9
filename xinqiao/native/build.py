"""Compile a C++ source once, at first use, and keep the library in a cache.

The cache is keyed by everything that changes the result: the sources, the flags, the version of what is linked, the
compiler and the processor. One process builds, others wait for it; a damaged library is built again.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xinqiao.errors import InputError


def cache_folder() -> Path:
    """`XINQIAO_CACHE`, or the user's cache folder; a temporary one, with a warning, where that cannot be written."""
    chosen = os.environ.get("XINQIAO_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(chosen) if chosen else base / "xinqiao"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        spare = Path(tempfile.gettempdir()) / f"xinqiao-{os.getuid()}"
        spare.mkdir(mode=0o700, exist_ok=True)
        if spare.stat().st_uid != os.getuid():
            raise InputError(f"{spare}: belongs to another user; set XINQIAO_CACHE to a folder of yours") from error
        print(f"xinqiao: {folder} cannot be written ({error.strerror}); using {spare}", file=sys.stderr)
        return spare


def compiler() -> Path:
    """The C++ compiler: `CXX`, c++, g++ or clang++."""
    for name in filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")):
        if found := shutil.which(name):
            return Path(found).resolve()
    raise InputError(
        "no C++ compiler found, and what is fast here is compiled at first use: install one "
        "(Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install) "
        "or set CXX"
    )


def library(name: str, source: Path, flags: Sequence[str], link: Sequence[str], version: str) -> Path:
    """Path of the shared library built from `source` and the headers that it includes, building it if need be.

    version: what the library is linked against, such as torch's version. InputError where there is no compiler, or it
    does not accept the source.
    """
    program = compiler()
    key = _key(program, source, [*flags, *link], version)
    folder = cache_folder()
    built = folder / f"{name}-{key}.so"
    if _intact(built):
        return built
    with _only_one(folder / f"{name}-{key}.lock"):
        if not _intact(built):
            _compile(name, [str(program), *flags, str(source)], link, built)
    return built


def _key(program: Path, source: Path, arguments: Sequence[str], version: str) -> str:
    digest = hashlib.sha256()
    stat = program.stat()
    for word in (*arguments, version, str(program), str(stat.st_size), str(stat.st_mtime_ns), platform.machine()):
        digest.update(word.encode() + b"\0")
    for path in _included(source):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def _included(source: Path) -> list[Path]:
    """The source, and the headers beside it that it or they include."""
    found = [source]
    for path in found:
        names = re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text(), re.MULTILINE)
        found += [path.with_name(name) for name in names if path.with_name(name) not in found]
    return found


def _seal(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _intact(built: Path) -> bool:
    try:
        return hashlib.sha256(built.read_bytes()).hexdigest() == _seal(built).read_text()
    except FileNotFoundError:
        return False


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the system even if this process is killed
        yield


def _compile(name: str, command: list[str], link: Sequence[str], built: Path) -> None:
    print(f"xinqiao: compiling {name}, once (half a minute to a minute)", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        partial = Path(folder) / built.name
        done = subprocess.run([*command, "-o", str(partial), *link], capture_output=True, text=True, check=False)
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-300:])
            raise InputError(f"{command[0]}: cannot compile {name}: {reason}")
        _seal(built).write_text(hashlib.sha256(partial.read_bytes()).hexdigest())
        partial.replace(built)
