"""Run every benchmark, one after the other: `make bench`. One that fails is named at the end; the others go on."""

import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = (
    *("start_up", "small_operator", "training_step", "shapes_671b", "port_speed", "prove_overhead", "size_speed"),
    *("convert_memory", "verify_speed"),
)
failed: list[str] = []


def main() -> None:
    run("peers", "peers", "quality")
    for script in SCRIPTS:
        run(script)
    run("convert_files", "--gigabytes", "1", "--peer-gigabytes", "0.5")  # the READMEs' rows are of 4 GB
    run("quality_smollm2", "--windows", "6")  # docs/quality.md has all 50
    run("operator_speed")
    run("size_accuracy", "points", "groups", "coverage", "constants")
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):  # for which aiconfigurator has a wheel
        run("peers", "peers-size")
        run("size_accuracy", "size_peers")
    run("calibrate_cpu")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def run(script: str, *options: str) -> None:
    print(f"== {script}", flush=True)
    if subprocess.run([sys.executable, str(HERE / f"{script}.py"), *options], check=False).returncode:
        failed.append(script)


if __name__ == "__main__":
    main()
