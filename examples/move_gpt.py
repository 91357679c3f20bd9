"""The main job, once, end to end: a CUDA program on a virtual H200, ported, and run on a virtual Ascend 910C.

    make run

Each step is a command that you can type yourself; it is printed before it runs. The page is written to build/move-gpt/.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from xinqiao.record.files import read
from xinqiao.report import default_language, verdict

ROOT = Path(__file__).parents[1]
ORIGINAL = Path("examples/gpt-cuda")
OUT = Path("build/move-gpt")
FINDINGS = 1  # exit code of a port that leaves places for a person


def xinqiao(*words: str | Path, allowed: tuple[int, ...] = (0,)) -> None:
    """Run one command, after showing it."""
    print(f"\n$ xinqiao {' '.join(map(str, words))}", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore::FutureWarning"}
    command = [sys.executable, "-m", "xinqiao.cli", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode not in allowed:
        sys.exit(done.returncode)


def main() -> None:
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    records = [OUT / name for name in ("original.json", "port.json", "ported.json")]
    options = ("--steps", "20", "--seed", "1337")
    xinqiao("run", "--chip", "nvidia-h200", "--record", records[0], "--",
            ORIGINAL / "train.py", *options, "--out-dir", OUT / "on-h200")  # fmt: skip
    xinqiao("port", ORIGINAL, "--chip", "ascend-910c", "--out", OUT / "port", "--record", records[1],
            allowed=(0, FINDINGS))  # fmt: skip
    xinqiao("run", "--chip", "ascend-910c", "--record", records[2], "--",
            OUT / "port" / "train.py", *options, "--out-dir", OUT / "on-910c")  # fmt: skip
    xinqiao("report", *records, "--out", OUT / "page.html")

    before, after = (json.loads((OUT / where / "losses.json").read_text()) for where in ("on-h200", "on-910c"))
    print(f"\n{'step':>4}  {'virtual H200':>12}  {'virtual 910C':>12}")
    for step, (a, b) in enumerate(zip(before, after, strict=True)):
        print(f"{step:4d}  {a:12.6f}  {b:12.6f}  {'same' if a == b else f'differs by {abs(a - b):.3g}'}")
    print(f"\n{verdict([read(r) for r in records], default_language())}")
    print(f"The page: {OUT / 'page.html'}")


if __name__ == "__main__":
    main()
