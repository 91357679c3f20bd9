"""Several processes or machines make the same bytes as one."""

import os
import subprocess
import sys

import pytest

from tests.convert.models import deepseek
from tests.convert.running import PROGRAM, digests, run


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """(source, what one process makes of it)."""
    folder = tmp_path_factory.mktemp("spread")
    source = deepseek(folder / "source", "v3", shards=2)
    done = run("convert", source, "--to", "int8-channel", "--out", folder / "alone")
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "alone").glob("*.safetensors"))) > 4
    return source, digests(folder / "alone")


@pytest.mark.parametrize("world", [2, 3])
def test_ranks(world, alone, tmp_path):
    """As torchrun starts them: each with its number in the environment."""
    source, meant = alone
    words = [sys.executable, "-c", PROGRAM, "convert", source, "--to", "int8-channel", "--out", tmp_path / "out"]
    environments = [os.environ | {"RANK": str(rank), "WORLD_SIZE": str(world)} for rank in range(world)]
    ranks = [subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) for env in environments]
    printed = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * world
    assert digests(tmp_path / "out") == meant
    assert "int8-channel" in printed[0]
    assert not any(printed[1:])


@pytest.mark.slow
def test_torchrun_itself(alone, tmp_path):
    source, meant = alone
    script = tmp_path / "small_shards.py"
    script.write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    words = [*torchrun, script, "convert", source, "--to", "int8-channel", "--out", tmp_path / "out"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    assert digests(tmp_path / "out") == meant


@pytest.mark.real
@pytest.mark.slow
def test_ray(alone, tmp_path):
    """A cluster started here; its workers plan again from the source (with shards of the usual size)."""
    source, _ = alone
    usual = [sys.executable, "-m", "xinqiao.cli", "convert", source, "--to", "int8-channel", "--out"]
    assert subprocess.run([*usual, tmp_path / "one"], check=False, stdout=subprocess.DEVNULL).returncode == 0
    done = subprocess.run([*usual, tmp_path / "out", "--ray", "local"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == digests(tmp_path / "one")


def test_no_ray_cluster_there(alone, tmp_path):
    source, _ = alone
    done = run("convert", source, "--to", "bf16", "--out", tmp_path / "out", "--ray", "127.0.0.1:1")
    assert done.returncode == 2
    assert "--ray" in done.stderr
