"""Run every benchmark, one after the other, and keep what they printed: `make bench`."""

import platform
import subprocess
import sys
from pathlib import Path

import peers

HERE = Path(__file__).parent
SCRIPTS = ("start_up", "small_operator", "training_step", "shapes_671b", "port_speed", "prove_overhead", "size_speed")
CONVERSIONS = ("convert_memory", "convert_files", "verify_speed")


def main() -> None:
    for name in ("peers", "quality"):
        if not peers.python(name):
            peers.make(name)
    for script in (*SCRIPTS, *CONVERSIONS):
        run(script)
    run("quality_smollm2", "--windows", "6")  # docs/quality.md has all 50
    run("operator_speed")
    run("size_accuracy", "points", "groups", "coverage", "constants")
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):  # for which aiconfigurator has a wheel
        if not peers.python("peers-size"):
            peers.make("peers-size")
        run("size_accuracy", "size_peers")
    run("calibrate_cpu")


def run(script: str, *options: str) -> None:
    print(f"== {script}", flush=True)
    subprocess.run([sys.executable, str(HERE / f"{script}.py"), *options], check=True)


if __name__ == "__main__":
    main()
