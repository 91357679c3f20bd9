"""Compiled operators: what compilers and their sanitizers say, and that they compile for other processors."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from xinqiao.native import kernels
from xinqiao.native.build import compiler
from xinqiao.native.processor import LEVELS, levels

FOLDER = Path(kernels.__file__).parent
NAMES = ("attention", "dsa", "linear", "moe")
STRICT = ("-std=c++20", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fopenmp")
# GCC's bug 105593: it warns of its own header for AVX-512, where undefined registers are initialised with themselves.
GCC = (*STRICT, "-Wno-uninitialized", "-Wno-maybe-uninitialized")
SANITIZED = (*GCC, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_read_or_written_outside_its_buffers(name, tmp_path):
    (tmp_path / "empty.cpp").write_text("int main() {}")
    if run(compiler(), *SANITIZED, tmp_path / "empty.cpp", "-o", tmp_path / "empty").returncode:
        pytest.skip("this compiler has no sanitizers")
    program = Path(__file__).with_name(f"{name}_bounds.cpp")
    built = run(compiler(), *SANITIZED, *LEVELS[levels()[0]].flags, program, "-o", tmp_path / "bounds")
    assert built.returncode == 0, built.stderr
    done = run(tmp_path / "bounds")
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout.endswith("calls\n")


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("name", NAMES)
def test_no_warnings(name, level):
    done = run(compiler(), "-fsyntax-only", *LEVELS[level].flags, *GCC, FOLDER / f"{name}.cpp")
    assert done.returncode == 0, done.stderr


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", ["avx512-bf16", "aarch64"])
def test_another_compiler_and_processor(name, level, tmp_path):
    """Clang, from the package ziglang."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs the package ziglang")
    target = "aarch64-linux-gnu" if level == "aarch64" else "x86_64-linux-gnu"
    processor = () if level == "aarch64" else ("-mcpu=znver4",)
    clang = (sys.executable, "-m", "ziglang", "c++", "-target", target, *processor)
    done = run(*clang, "-c", "-fPIC", *STRICT, FOLDER / f"{name}.cpp", "-o", tmp_path / "kernels.o")
    assert done.returncode == 0, done.stderr
