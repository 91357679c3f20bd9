"""Every kernel fits an Ascend core with the tiles that `fit` chooses, by the vendor's compiler; no device is needed.

The compiler's packages replace Triton and take gigabytes, so they have an environment of their own: `make ascend-check`
builds it and runs this.
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / "build/ascend/bin/python"
pytestmark = [
    pytest.mark.ascend,
    pytest.mark.skipif(not PYTHON.exists(), reason="`make ascend-check` builds what this needs"),
]


@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("chip", ["ascend-910b", "ascend-910c", "ascend-950pr", "ascend-950dt"])
def test_every_kernel_fits(chip, dtype):
    command = [PYTHON, "-m", "tests.ops.triton.ascend", chip, dtype]
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    verdicts = dict(line.split("\t") for line in done.stdout.splitlines())
    assert len(verdicts) > 30
    assert {name: said for name, said in verdicts.items() if said != "fits"} == {}
