"""The kernels' source: what compilers and their sanitizers say about it, and that it compiles for other processors."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from xinqiao.native import codec
from xinqiao.native.build import compiler
from xinqiao.native.processor import LEVELS

STRICT = ("-std=c++20", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
SANITIZED = (*STRICT, "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def test_nothing_is_read_or_written_outside_its_buffers(tmp_path):
    (tmp_path / "empty.cpp").write_text("int main() {}")
    if run(compiler(), *SANITIZED, tmp_path / "empty.cpp", "-o", tmp_path / "empty").returncode:
        pytest.skip("this compiler has no sanitizers")
    built = run(compiler(), *SANITIZED, Path(__file__).with_name("codec_bounds.cpp"), "-o", tmp_path / "bounds")
    assert built.returncode == 0, built.stderr
    done = run(tmp_path / "bounds")
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout.endswith("calls\n")


@pytest.mark.parametrize("level", codec.levels())
def test_no_warnings(level, tmp_path):
    done = run(compiler(), *codec._FLAGS, *LEVELS[level].flags, *STRICT, codec.SOURCE, "-o", tmp_path / "codec.so")
    assert done.returncode == 0, done.stderr


@pytest.mark.real
@pytest.mark.parametrize("target", ["aarch64-linux-gnu", "x86_64-linux-gnu"])
def test_another_compiler_and_processor(target, tmp_path):
    """Clang, from the package ziglang."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs the package ziglang")
    clang = (sys.executable, "-m", "ziglang", "c++", "-target", target)
    done = run(*clang, "-c", "-O3", "-fPIC", *STRICT, codec.SOURCE, "-o", tmp_path / "codec.o")
    assert done.returncode == 0, done.stderr
