"""Source archives of published packages: fetched once into a cache, checked, unpacked; nothing of them is executed."""

import hashlib
import html
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin
from urllib.request import Request, urlopen

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xinqiao-sdists"
_SECONDS = 120


@dataclass(frozen=True)
class Package:
    """One row of packages.toml.

    sources   folder of the archive that goes on PYTHONPATH, relative to its top folder
    program   name of the driver in port_programs/, '' where the package is only ported
    small     one of the reduced set that the tests take
    """

    name: str
    kind: str
    archive: str
    sha256: str
    sources: str = "."
    program: str = ""
    small: bool = False


def packages() -> list[Package]:
    """The packages of the benchmark, in the order of the file."""
    rows = tomllib.loads((HERE / "packages.toml").read_text())["package"]
    return [Package(**row) for row in rows]


def tree(package: Package) -> Path:
    """The unpacked archive's top folder. OSError where it cannot be fetched, ValueError where it is another file."""
    folder = CACHE / package.sha256[:16]
    if not folder.exists():
        data = _archive(package)
        unpacked = folder.with_suffix(".new")
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(data) as archive:
            archive.extractall(unpacked, filter="data")
        unpacked.rename(folder)
    return next(p for p in folder.iterdir() if p.is_dir())


def _archive(package: Package) -> Path:
    path = CACHE / package.archive
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with urlopen(_address(package), timeout=_SECONDS) as answer:
            part = path.with_suffix(".part")
            part.write_bytes(answer.read())
            part.rename(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        path.unlink()
        raise ValueError(f"{package.archive}: not the file that packages.toml means (SHA-256 differs)")
    return path


def _address(package: Package) -> str:
    """Where pip's own index has the archive: pip itself would run a package's setup.py to download it."""
    page = urljoin(_index(), f"{package.name}/")
    with urlopen(Request(page, headers={"Accept": "text/html"}), timeout=_SECONDS) as answer:
        text = answer.read().decode()
    found = re.search(rf'href="([^"]*/{re.escape(package.archive)})(?:#[^"]*)?"', text)
    if found is None:
        raise OSError(f"{page}: has no {package.archive}")
    return urljoin(page, html.unescape(found[1]))


def _index() -> str:
    command = [sys.executable, "-m", "pip", "download", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "400"})
    found = re.search(r"--index-url <url>.*?\(default:? (\S+?)\)", shown.stdout)
    if found is None:
        raise OSError("pip does not say which index it uses")
    return found[1].rstrip("/") + "/"
