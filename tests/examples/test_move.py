"""The main job: the CUDA project on a virtual H200 and its port on a virtual 910C compute the same, to the bit."""

import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.examples.programs import EXAMPLES
from tests.warm import launches
from xinqiao import port as ports
from xinqiao.chips import catalog
from xinqiao.prove import Chips, Program, prove

CHIP = "ascend-910c"
TRAIN = Path("train.py")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """The project and its port, in a folder of their own: the program writes beside itself."""
    folder = tmp_path_factory.mktemp("move")
    shutil.copytree(EXAMPLES / "gpt-cuda", folder / "original")
    ports.port(folder / "original", ports.Target(catalog.load(CHIP)), folder / "port")
    return folder / "original", folder / "port"


def proof(trees, *words, ranks=1):
    with nullcontext() if "--compile" in words else launches():
        return prove(*trees, Program(TRAIN, list(words), ranks), chips=Chips(CHIP))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "ranks"),
    [
        (("--optimizer", "default"), 1),
        (("--optimizer", "foreach"), 1),
        (("--optimizer", "fused"), 1),
        (("--dtype", "bfloat16"), 1),
        (("--dtype", "float16"), 1),
        (("--dropout", "0.1"), 1),
        (("--compile",), 1),
        (("--optimizer", "foreach"), 2),
    ],
)
def test_the_port_computes_what_the_original_computes(trees, words, ranks):
    found = proof(trees, *words, ranks=ranks)
    assert found.verdict == "same", found.partings
    assert found.numbers_equal == found.numbers >= 20
    assert (found.printed_equal, found.printed) == (20, 20)
    assert found.modules_equal == found.modules >= 38 * ranks  # DDP is one more


@pytest.mark.slow
def test_several_runs_reach_what_one_does_not(trees):
    runs = [proof(trees, "--steps", "4"), proof(trees, "--steps", "4", "--resume", ranks=2)]
    assert [run.verdict for run in runs] == ["same", "same"]
    unproven = [{(u.file, u.line) for u in run.unproven} for run in runs]
    assert len(unproven[0] & unproven[1]) < min(map(len, unproven))


@pytest.mark.slow
def test_make_run_says_it_in_a_screenful():
    program = EXAMPLES / "move_gpt.py"
    own = {name: value for name, value in os.environ.items() if not name.startswith("XINQIAO_")}
    done = subprocess.run([sys.executable, program], env=own, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.splitlines()
    assert "same: the port computes what the original computes, bit for bit" in said
    assert "  19      2.519086      2.519086  same" in said
    assert said[-1] == "build/move-gpt/page.html"
    assert "=</span>" in (EXAMPLES.parent / said[-1]).read_text(encoding="utf-8")
    assert len(said) < 40
    assert not (EXAMPLES / "gpt-cuda" / "out").exists()
