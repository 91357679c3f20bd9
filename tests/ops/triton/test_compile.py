"""Every kernel compiles for chips that are not there, and needs no more shared memory than `fit` said.

Separate processes: in the interpreter's, kernels cannot be compiled.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
pytestmark = [pytest.mark.triton, pytest.mark.slow]

ROOT = Path(__file__).parents[3]
TARGETS = {  # Triton's back end, architecture and threads of a warp; shared memory that a block can have
    "nvidia-a100": ("cuda", "80", "32", 166912),
    "nvidia-h100": ("cuda", "90", "32", 232448),
    "nvidia-b200": ("cuda", "100", "32", 232448),
    "amd-mi300x": ("hip", "gfx942", "64", 65536),
}


@pytest.mark.parametrize("chip", TARGETS)
def test_every_kernel_compiles_and_fits(chip):
    *target, there = TARGETS[chip]
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.ops.triton.compile", chip, *target, "bf16", "fp16"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    needs = dict(line.split("\t") for line in done.stdout.splitlines())
    assert len(needs) > 60
    assert {name: need for name, need in needs.items() if int(need) > there} == {}
