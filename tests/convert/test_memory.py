"""Memory stays small however large the model is."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.convert.running import command

GB = 1 << 30
TENSOR = 256 << 20
COUNT = 24


def sparse_model(folder):
    """Six gigabytes of bf16 zeros that take no disk: 24 matrices of 256 MB in six shards."""
    folder.mkdir()
    where = {}
    for shard in range(6):
        file = f"model-{shard + 1:05d}-of-00006.safetensors"
        names = [f"model.layers.{shard * 4 + i}.mlp.up_proj.weight" for i in range(4)]
        header = {
            name: {"dtype": "BF16", "shape": [16384, 8192], "data_offsets": [i * TENSOR, (i + 1) * TENSOR]}
            for i, name in enumerate(names)
        }
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as opened:
            opened.write(len(text).to_bytes(8, "little") + text)
            opened.truncate(8 + len(text) + 4 * TENSOR)
        where |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "torch_dtype": "bfloat16"}))
    return folder


@pytest.fixture
def roomy(tmp_path):
    """A folder with four gigabytes to write to, in memory where the disk has not so many."""
    if shutil.disk_usage(tmp_path).free > 4 * GB:
        yield tmp_path
    else:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            yield Path(folder)


MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["fp8-ue8m0", "int8-channel"])
def test_peak_memory_of_six_gigabytes(roomy, layout):
    source = sparse_model(roomy / "source")
    words = command("convert", source, "--to", layout, "--out", roomy / "out")
    done = subprocess.run([sys.executable, "-c", MEASURE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.splitlines()[-1]) * 1024
    assert peak < 2 * TENSOR + GB
    assert peak < GB / 2  # what a panel at a time takes in truth
