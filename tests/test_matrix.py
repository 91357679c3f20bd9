"""The device under a second PyTorch: gigabytes to download, so outside `make test`. Run it by `pytest -m matrix`."""

import subprocess
from pathlib import Path

import pytest


@pytest.mark.matrix
@pytest.mark.timeout(3600)
def test_the_device_works_under_the_next_pytorch():
    subprocess.run(["make", "matrix"], cwd=Path(__file__).parents[1], check=True)
