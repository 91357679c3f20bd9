"""A DeepSeek-V3-shaped model, 671 billion parameters, one training step in shapes mode: seconds, memory, exactness.

    python benchmarks/shapes_671b.py

First on the chip with its memory capacity taken out of its file (an unknown capacity refuses nothing), then on the chip
as it is, where construction must run out of memory.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHIP = "ascend-910c"
CHIPS = Path(__file__).parents[1] / "xinqiao" / "chips"
SCRIPT = Path(__file__).parents[1] / "examples" / "deepseek_v3" / "train_step.py"


def run(chip: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xinqiao.cli", "run", "--chip", chip, "--shapes", "--", str(SCRIPT)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> None:
    text = (CHIPS / f"{CHIP}.toml").read_text()
    unlimited = re.sub(r"(?m)^capacity = .*$", "", text)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "unlimited.toml"
        file.write_text(unlimited)
        begun = time.perf_counter()
        done = run(str(file))
        print(done.stdout, end="")
        print(f"whole process {time.perf_counter() - begun:.1f} s (target 15), target 1 GB", flush=True)
        if done.returncode:
            sys.exit(done.stderr)
    refused = run(CHIP).stderr
    error = next((line for line in refused.splitlines() if "OutOfMemoryError" in line), "no OutOfMemoryError")
    where = "during construction" if "__init__" in refused and "backward" not in refused else "not in construction"
    print(f"{CHIP} as it is: {error[:120]} ({where})")


if __name__ == "__main__":
    main()
