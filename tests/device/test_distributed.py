"""Several processes under each vendor's collective name."""

from pathlib import Path

import pytest

from tests.device.programs import run
from xinqiao.chips import catalog

PROGRAM = Path(__file__).with_name("distributed_program.py")


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["ascend-910c", "nvidia-h200", "cambricon-mlu590", "moore-threads-s5000"])
def test_collectives_ddp_and_fsdp(chip):
    names = catalog.load(chip).torch
    arguments = (names.device, names.package, names.collective)
    done = run(PROGRAM, "--ranks", "2", chip=chip, arguments=arguments)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("ok") == 2
