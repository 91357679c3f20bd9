"""Run small programs on a chip through the command line, as a user does."""

import os
import subprocess
from pathlib import Path

from tests.warm import python

ROOT = Path(__file__).parents[2]


def run(script, *options, chip="ascend-910c", arguments=(), **environment):
    """`xinqiao run --chip CHIP OPTIONS -- SCRIPT ARGUMENTS` in the script's folder."""
    command = [python(), "-m", "xinqiao.cli", "run", "--chip", str(chip), *map(str, options)]
    return start([*command, "--", str(script), *arguments], script.parent, **environment)


def start(command, folder, **environment):
    settings = {"OMP_NUM_THREADS": "1", **environment}
    kept = {k: v for k, v in {**os.environ, **settings}.items() if v is not None}
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False)


def cli(*words, folder, **environment):
    return start([python(), "-m", "xinqiao.cli", *map(str, words)], folder, **environment)
