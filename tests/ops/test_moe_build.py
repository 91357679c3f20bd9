"""The kernels' source: what compilers and their sanitizers say about it, and that it compiles for other processors."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from xinqiao.native import kernels
from xinqiao.native.build import compiler
from xinqiao.native.processor import LEVELS, levels

SOURCE = Path(kernels.__file__).with_name("moe.cpp")
STRICT = ("-std=c++20", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
SANITIZED = (*STRICT, "-fopenmp", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("level", levels())
def test_nothing_is_read_or_written_outside_its_buffers(level, tmp_path):
    (tmp_path / "empty.cpp").write_text("int main() {}")
    if run(compiler(), *SANITIZED, tmp_path / "empty.cpp", "-o", tmp_path / "empty").returncode:
        pytest.skip("this compiler has no sanitizers")
    program = Path(__file__).with_name("moe_bounds.cpp")
    built = run(compiler(), *SANITIZED, *LEVELS[level].flags, program, "-o", tmp_path / "bounds")
    assert built.returncode == 0, built.stderr
    done = run(tmp_path / "bounds")
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout.endswith("calls\n")


@pytest.mark.slow
@pytest.mark.parametrize("level", levels())
def test_no_warnings(level, tmp_path):
    done = run(compiler(), *kernels.FLAGS, *LEVELS[level].flags, *STRICT, SOURCE, "-o", tmp_path / "moe.so")
    assert done.returncode == 0, done.stderr


@pytest.mark.real
@pytest.mark.parametrize("level", ["avx512-bf16", "x86-64-v3", "portable", "aarch64"])
def test_another_compiler_and_processor(level, tmp_path):
    """Clang, from the package ziglang."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs the package ziglang")
    target = "aarch64-linux-gnu" if level == "aarch64" else "x86_64-linux-gnu"
    names = {"avx512-bf16": ("-mcpu=znver4",), "x86-64-v3": ("-mcpu=x86_64_v3",)}.get(level, ())
    clang = (sys.executable, "-m", "ziglang", "c++", "-target", target, *names)  # it has no header for OpenMP
    done = run(*clang, "-c", "-O3", "-fPIC", *STRICT, "-Wno-unknown-pragmas", SOURCE, "-o", tmp_path / "moe.o")
    assert done.returncode == 0, done.stderr
