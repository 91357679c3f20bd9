"""Run example programs in processes of their own: plain, or on a virtual chip."""

import os
import subprocess
from pathlib import Path

from tests.warm import python

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script: Path, *arguments: str, chip: str = "", ranks: int = 1, shapes: bool = False, folder: Path) -> str:
    """What `script` printed; fails with its errors if it failed. No chip: the CPU, by torchrun where ranks > 1."""
    if chip:
        start = ["-m", "xinqiao.cli", "run", "--chip", chip, "--ranks", str(ranks), *["--shapes"] * shapes, "--"]
    else:
        start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    own = {name: value for name, value in os.environ.items() if not name.startswith("XINQIAO_")}
    done = subprocess.run(
        [python(), *start, str(script), *arguments],
        cwd=folder,
        env={**own, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
