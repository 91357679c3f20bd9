"""The main job, once, end to end: a CUDA program is ported, and its port is proven on a virtual Ascend 910C.

    make run

Each step is a command that you can type yourself; it is printed before it runs. Everything is written to build/move-gpt/.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = Path("build/move-gpt")
ORIGINAL, PORT, RECORD, PROOF, PAGE = (OUT / name for name in ("original", "port", "port.json", "proof", "page.html"))
FINDINGS = 1  # exit code of a port that leaves places for a person, and of a proof that fails


def xinqiao(*words: str | Path, without: str = "\0") -> int:
    """Run one command after showing it, and print what it prints but for lines that start with `without`."""
    print(f"\n$ xinqiao {' '.join(map(str, words))}", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore::FutureWarning"}
    command = [sys.executable, "-m", "xinqiao.cli", *map(str, words)]
    done = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE, text=True)
    print("\n".join(line for line in done.stdout.splitlines() if not line.startswith(without)), flush=True)
    if done.returncode not in (0, FINDINGS):
        sys.exit(done.returncode)
    return done.returncode


def print_losses() -> None:
    """Of the original and the port, side by side; of many equal ones the first three and the last."""
    files = [tree / "out" / "losses.json" for tree in (ORIGINAL, PORT)]
    before, after = (json.loads(file.read_text()) if file.exists() else [] for file in files)
    print(f"\n{'step':>4}  {'virtual H200':>12}  {'virtual 910C':>12}")
    for step, (a, b) in enumerate(zip(before, after, strict=False)):
        if step in (0, 1, 2, len(before) - 1) or a != b:
            print(f"{step:4d}  {a:12.6f}  {b:12.6f}  {'same' if a == b else f'differs by {abs(a - b):.3g}'}")
        elif step == 3:
            print(" ...")


def main() -> None:
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.copytree("examples/gpt-cuda", ORIGINAL, ignore=shutil.ignore_patterns("out", "__pycache__"))
    xinqiao("port", ORIGINAL, "--chip", "ascend-910c", "--out", PORT, "--record", RECORD)
    proven = xinqiao("prove", ORIGINAL, PORT, "--chip", "ascend-910c", "--out", PROOF, "--", "train.py", "--steps", "20",
                     without="  unproven: ")  # fmt: skip
    print_losses()
    xinqiao("report", RECORD, PROOF, "--out", PAGE)
    sys.exit(proven)


if __name__ == "__main__":
    main()
