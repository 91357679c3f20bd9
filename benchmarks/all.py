"""Run every benchmark, one after the other, and keep what they printed: `make bench`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = ("start_up", "small_operator", "training_step", "shapes_671b", "port_speed", "prove_overhead")
CONVERSIONS = ("convert_memory", "convert_files", "verify_speed")  # `peers.py peers` first: they compare with those


def main() -> None:
    for script in (*SCRIPTS, *CONVERSIONS):
        print(f"== {script}", flush=True)
        subprocess.run([sys.executable, str(HERE / f"{script}.py")], check=True)


if __name__ == "__main__":
    main()
