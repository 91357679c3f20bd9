"""Seconds of `size`: one plan, 10,000 plans with a limit on time per token, and a whole command.

    python benchmarks/size_speed.py [--rounds N]

One plan: time per token, tokens/s with and without prompts, and the first token; model, chip and plan are loaded.
10,000: every plan of DeepSeek-V3 on 512 chips that fits, each at as many numbers of sequences in flight as make 10,000
in all; then the command's own search, which halves its way to the limit instead. These are seconds of one processor,
which other programs do not lengthen much; the command's are of the clock. Medians, and the smallest of the rounds.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from xinqiao.chips import catalog
from xinqiao.cost import software
from xinqiao.size import catalogue
from xinqiao.size.choose import Named, formats
from xinqiao.size.evaluate import Setting
from xinqiao.size.request import Request, Wanted, Workload
from xinqiao.size.search import best, engines

COUNT = 10_000
TPOT = 0.05


def asked(model: str, chip: str, chips: int, wanted: Wanted) -> Request:
    work = Workload(tpot=TPOT)
    return Request(catalogue.load(model), catalog.load(chip), software.load("generic"), "decode", chips, wanted, work)


def settings(request: Request) -> list[Setting]:
    chosen, _ = formats(request.model, request.chip, Named())
    return [Setting(request, engine) for engine in engines(request, chosen, request.chips)]


def point(rounds: int) -> None:
    request = asked("deepseek-v3", "nvidia-h800", 64, Wanted(tp=1, pp=1, ep=64))
    (setting,) = settings(request)

    def once() -> None:
        setting.decode(512.0)
        setting.serve(512.0)
        setting.prefill()
        setting.first_token()

    show("one plan", 0.005, [seconds(once) for _ in range(50 * rounds)])


def many(rounds: int) -> None:
    request = asked("deepseek-v3", "nvidia-h800", 512, Wanted())
    fitting = [setting for setting in settings(request) if setting.fits]
    each = -(-COUNT // len(fitting))

    def all_of_them() -> None:
        kept = 0
        for setting in fitting:
            for at in range(each):
                kept += setting.per_token(setting.most ** (at / (each - 1))) <= TPOT
        assert 0 < kept < len(fitting) * each

    name = f"{len(fitting)} plans × {each} numbers of sequences"
    show(name, 60, [seconds(all_of_them) for _ in range(max(rounds // 3, 1))])
    chosen, _ = formats(request.model, request.chip, Named())
    show("the command's search of them", 60, [seconds(lambda: best(request, chosen)) for _ in range(rounds)])


def command(rounds: int) -> None:
    words = [sys.executable, "-m", "xinqiao.cli", "size", "llama-3-70b", "--chip", "h200"]

    def once() -> None:
        subprocess.run(words, check=True, capture_output=True)

    once()
    show(" ".join(words[3:]), 1.5, [seconds(once, time.perf_counter) for _ in range(rounds)])


def seconds(do: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    start = clock()
    do()
    return clock() - start


def show(name: str, target: float, found: list[float]) -> None:
    print(f"{name}: {statistics.median(found):.4g} s, at best {min(found):.4g} s (target {target:g})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    point(rounds)
    many(rounds)
    command(rounds)


if __name__ == "__main__":
    main()
