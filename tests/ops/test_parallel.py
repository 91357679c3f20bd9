"""Experts on real processes, over gloo and over the collectives of virtual chips."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.device.programs import ROOT, run
from tests.warm import python
from xinqiao.chips import catalog
from xinqiao.errors import InputError
from xinqiao.ops.parallel import ExpertParallel

PROGRAM = Path(__file__).with_name("parallel_program.py")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_same_as_one_process(size):
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(size),
        "OMP_NUM_THREADS": "1",
    }
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    interpreter = python()
    started = [
        subprocess.Popen(
            [interpreter, str(PROGRAM), "cpu", "", "gloo"],
            env={**os.environ, **shared, "RANK": str(rank), "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [process.communicate(timeout=300) for process in started]
    assert [out for out, _ in said] == ["ok\n"] * size, [errors[-2000:] for _, errors in said]


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["ascend-910c", "cambricon-mlu590"])
def test_under_a_chip_s_collectives(chip):
    names = catalog.load(chip).torch
    done = run(PROGRAM, "--ranks", "2", chip=chip, arguments=(names.device, names.package, names.collective))
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.count("ok") == 2


@pytest.fixture
def alone(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("experts", "places", "message"),
    [
        (4, [[0, 1, 2]], "places must name each expert from 0 to 3"),
        (4, [[0, 1, 2, 3, 4]], "places must name each expert from 0 to 3"),
        (2, [[0], [1]], "places has shape [2, 1], expected [1, slots]"),
    ],
)
def test_wrong_places(experts, places, message):
    with pytest.raises(InputError) as error:
        ExpertParallel(experts, torch.tensor(places))
    assert str(error.value) == f"ExpertParallel: {message}"
