"""The tests in chip/, on one chip a vendor, each in a process of its own: one process can hold one chip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHIPS = ("ascend-910c", "nvidia-h200", "cambricon-mlu590", "moore-threads-s5000", "kunlun-p800")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("chip", CHIPS)
def test_on(chip):
    command = [sys.executable, "-m", "pytest", "tests/device/chip", "-p", "no:cacheprovider", "-q"]
    environment = {**os.environ, "XINQIAO_CHIP": chip, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
