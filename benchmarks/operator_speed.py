"""Every benchmark of the operators, one after the other; their output goes into docs/operators-speed.md.

    python benchmarks/operator_speed.py [NAME ...] [--write docs/operators-speed.md]

NAME: linear_speed, decode_speed, nsa_speed, dsa_speed, moe_speed; all by default. What a page says between
`<!-- NAME: begin -->` and `<!-- NAME: end -->` is replaced; on a processor without AVX-512 BF16 it is NAME and the set
of instructions, such as `moe_speed x86-64-v3`.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from xinqiao.native.processor import levels

HERE = Path(__file__).parent
NAMES = ("linear_speed", "decode_speed", "nsa_speed", "dsa_speed", "moe_speed")


def output(name: str) -> str:
    print(f"== {name}", flush=True)
    run = subprocess.Popen([sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.PIPE, text=True)
    lines = []
    for line in run.stdout or ():
        print(line, end="", flush=True)
        lines.append(line)
    if run.wait():
        sys.exit(f"{name} failed")
    return "".join(lines).strip()


def place(name: str) -> str:
    best = levels()[0]
    return name if best == "avx512-bf16" else f"{name} {best}"


def placed(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    found, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n```\n{text}\n```\n{end}", page, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"the page has no place for {name}: {begin} and {end}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    for name in options.names:
        text = output(name)
        if options.write:
            options.write.write_text(placed(options.write.read_text(), place(name), text))


if __name__ == "__main__":
    main()
