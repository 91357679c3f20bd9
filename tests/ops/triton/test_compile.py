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
TARGETS = {  # Triton's back end, architecture, threads of a warp, share of the kernels; shared memory of a block
    "nvidia-a100": ("cuda", "80", "32", "0/4", 166912),
    "nvidia-h100": ("cuda", "90", "32", "1/2", 232448),
    "nvidia-b200": ("cuda", "100", "32", "2/4", 232448),
    "amd-mi300x": ("hip", "gfx942", "64", "0/2", 65536),
}


def compiled(chip, *words):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.ops.triton.compile", chip, *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(line.split("\t") for line in done.stdout.splitlines())


@pytest.mark.parametrize("chip", TARGETS)
def test_kernels_compile_and_fit(chip):
    """A share of the kernels for each chip; all of them for all chips: `pytest -m nightly`."""
    *target, there = TARGETS[chip]
    needs = compiled(chip, *target, "bf16")
    assert len(needs) >= 8
    assert {name: need for name, need in needs.items() if int(need) > there} == {}


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chip", TARGETS)
def test_every_kernel_compiles_and_fits(chip):
    *target, _, there = TARGETS[chip]
    needs = compiled(chip, *target, "0/1", "bf16", "fp16")
    assert len(needs) > 60
    assert {name: need for name, need in needs.items() if int(need) > there} == {}
