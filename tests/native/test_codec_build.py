"""The kernels as compilers and sanitizers see them."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from xinqiao.native import codec
from xinqiao.native.build import compiler

STRICT = ("-Wall", "-Wextra", "-Werror")
BOUNDS = Path(__file__).with_name("codec_bounds.cpp")
PAIRS = 17_640  # formats, shapes, blocks and strides that codec_bounds.cpp goes through


def flags(level):
    return [flag for flag in (*codec._FLAGS, *codec._LEVELS[level]) if flag not in ("-shared", "-O3")]


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("level", codec.levels())
def test_compiles_without_a_warning(level):
    done = run(compiler(), *flags(level), *STRICT, "-fsyntax-only", codec.SOURCE)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(find_spec("ziglang") is None, reason="needs ziglang, which is clang for every processor")
@pytest.mark.parametrize("target", ["aarch64-linux-gnu", "x86_64-linux-gnu"])
def test_clang_compiles_it_for_other_processors(target, tmp_path):
    clang = (sys.executable, "-m", "ziglang", "c++", "-target", target)
    done = run(*clang, *flags("portable"), *STRICT, "-O2", "-c", codec.SOURCE, "-o", tmp_path / "codec.o")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_nothing_outside_the_buffers_is_touched(tmp_path):
    program = tmp_path / "bounds"
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g")
    built = run(
        *(compiler(), *flags(codec.levels()[0]), *sanitizers, f"-I{codec.SOURCE.parent}", BOUNDS, "-o", program)
    )
    if "cannot find" in built.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    done = run(program)
    assert done.returncode == 0, done.stderr[:2000]
    assert int(done.stdout) == PAIRS
