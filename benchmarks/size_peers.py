"""End-to-end measurements beside four predictions of them: ours twice, a bare roofline, and aiconfigurator.

    python benchmarks/peers.py peers-size   # aiconfigurator 0.12 from PyPI, in an environment of its own; Linux x86-64
    python benchmarks/size_peers.py

held-out    constants fitted without any point of the model's family
frozen      constants that `size` uses, fitted to all points
roofline    the same operators, each at the data sheet's rates: no launch, no host, nothing lost
aiconfig    aiconfigurator with the database of that device (H100's for H800), the batch and formats of the point
"""

import json
import statistics
import subprocess
import sys
import time
from math import exp, inf, isnan, log, nan
from pathlib import Path
from typing import NamedTuple

import fit_cost
import peers
from published import Point, engine, in_flight, points, predict

from xinqiao.cost.constants import Constant, Constants
from xinqiao.size import catalogue

HERE = Path(__file__).parent
PHASES = ("static", "first-token", "load", "prefill", "decode")
SYSTEM = {"nvidia-h100": "h100_sxm", "nvidia-h800": "h100_sxm", "nvidia-a100": "a100_sxm"}
TOKENS = 8192  # of an iteration at maximum load, as the benchmark's engines were built
NOTHING_LOST = dict.fromkeys(Constants.__struct_fields__, 1.0) | {
    **dict.fromkeys(("half_rows", "launch", "core", "host", "step", "latency"), 0.0),
    "sharpness": inf,
}
TOOLS = ("held-out", "frozen", "roofline", "aiconfig")


class Answer(NamedTuple):
    """value: in the point's unit, NaN where refused; seconds: of the processor; said: why, or what was changed."""

    value: float
    seconds: float
    said: str = ""

    def error(self, point: Point) -> float:
        return abs(self.value / point.figure("value") - 1)


def ours(chosen: list[Point], found: Constants | None = None) -> list[Answer]:
    return [_timed(point, found) for point in chosen]


def _timed(point: Point, found: Constants | None) -> Answer:
    predict(point, found)  # files are read once
    start = time.process_time()
    value = predict(point, found).value
    return Answer(value, time.process_time() - start)


def held_out(chosen: list[Point]) -> list[Answer]:
    """By constants that were fitted without the family; the seconds are those of a prediction, not of a fit."""
    every = points()
    families = {name: group for name, group in fit_cost.groups(every).items() if name.startswith("model")}
    answers = fit_cost.held_out(every, fit_cost.fit(every), families)
    values = {a.point.number: a.point.figure("value") * exp(a.error) for a in answers}
    return [Answer(values[p.number], _timed(p, None).seconds) for p in chosen]


def roofline() -> Constants:
    return Constants(**{name: Constant(value, 0.0) for name, value in NOTHING_LOST.items()})


def aiconfigurator(chosen: list[Point], python: Path) -> list[Answer]:
    questions = "".join(json.dumps(_question(point)) + "\n" for point in chosen)
    command = [str(python), str(HERE / "size_aiconfigurator.py")]
    done = subprocess.run(command, input=questions, stdout=subprocess.PIPE, text=True, check=True)
    return [_read(p, json.loads(line)) for p, line in zip(chosen, done.stdout.splitlines(), strict=True)]


def _question(point: Point) -> dict:
    plan, form = point.plan, {"bf16": "bfloat16"}.get(point.weights, point.weights)
    made = {"system_name": SYSTEM[point.chip], "isl": int(point.input), "tp_size": plan.tp}
    if plan.ep > 1:  # its SGLang tables are the ones that have this parallelism
        made |= {"model_path": "deepseek-ai/DeepSeek-R1", "backend_name": "sglang", "attention_dp_size": plan.dp}
        made |= {"moe_ep_size": plan.ep, "moe_tp_size": 1}
    else:
        config = json.loads((catalogue.FOLDER / f"{point.model}.json").read_text())
        made |= {"config": {"architectures": ["LlamaForCausalLM"], **config}, "backend_name": "trtllm"}
        made |= {"gemm_quant_mode": form, "kvcache_quant_mode": form}
    if point.phase == "load":
        most = int(in_flight(point, engine(point, None)))
        return made | {"mode": "agg", "osl": int(point.output), "ctx_tokens": TOKENS, "tries": _smaller(most)}
    mode = {"static": "static", "decode": "static_gen"}.get(point.phase, "static_ctx")
    output = {"static": int(point.output or 0), "decode": 2}.get(point.phase, 1)
    return made | {"mode": mode, "osl": output, "tries": [int(point.sequences)]}


def _smaller(batch: int) -> list[int]:
    """Batches at maximum load are not published: ours, then each 7 % smaller, until its memory check accepts one."""
    return [max(int(batch * 0.93**at), 1) for at in range(16)]


def _read(point: Point, made: dict) -> Answer:
    if not made["batch"]:
        return Answer(nan, nan, f"refused: {' '.join(made['refused'].split())[:150]}")
    said = f"at a batch of {made['batch']}: did not fit with ours" if made["refused"] else ""
    tokens = made["batch"] * float(point.input)
    value = {
        "static": made["tokens/s/gpu"],
        "load": made["tokens/s"],
        "first-token": made["ttft"],
        "prefill": tokens / (made["ttft"] or nan) * 1e3,
        "decode": made["batch"] / (made["tpot"] or nan) * 1e3,
    }[point.phase]
    return Answer(value, made["seconds"], said)


def main() -> None:
    python = peers.python("peers-size")
    if python is None:
        sys.exit(f"aiconfigurator is not installed: {peers.how('peers-size')}")
    chosen = [point for point in points() if point.phase in PHASES]
    answers = dict(zip(TOOLS, (held_out(chosen), ours(chosen), ours(chosen, roofline()),
                               aiconfigurator(chosen, python)), strict=True))  # fmt: skip
    print(f"{'':55s} {'published':>9s}" + "".join(f" {tool:>9s} {'off':>5s}" for tool in TOOLS))
    for at, point in enumerate(chosen):
        row = [answers[tool][at] for tool in TOOLS]
        print(f"{_title(point)} {point.figure('value'):9.5g}" + "".join(_cell(a, point) for a in row))
    for name in dict.fromkeys(p.benchmark for p in chosen):
        _medians(name, [at for at, p in enumerate(chosen) if p.benchmark == name], chosen, answers)
    _medians("all", list(range(len(chosen))), chosen, answers)
    _seconds(answers)
    _said(chosen, answers["aiconfig"])
    _nearer(chosen, answers)


def _title(point: Point) -> str:
    asked = f"{point.input}+{point.output or 0}"
    return f"{point.number:2d} {point.benchmark:23s} {point.chip[7:]} {point.model:11s} {asked:10s}"


def _cell(found: Answer, point: Point) -> str:
    if isnan(found.value):
        return f" {'refused':>9s} {'':5s}"
    return f" {found.value:9.5g} {found.value / point.figure('value') - 1:+5.0%}"


def _medians(name: str, rows: list[int], chosen: list[Point], answers: dict[str, list[Answer]]) -> None:
    cells = ""
    for tool in TOOLS:
        errors = [answers[tool][at].error(chosen[at]) for at in rows if not isnan(answers[tool][at].value)]
        median = f"{statistics.median(errors):9.1%}" if errors else f"{'none':>9s}"
        cells += f" {median} {len(errors):2d}/{len(rows):2d}"
    print(f"median error, {name:41s} {'':9s}{cells}")


def _seconds(answers: dict[str, list[Answer]]) -> None:
    for tool, found in answers.items():
        times = [a.seconds for a in found if not isnan(a.value)]
        print(f"processor seconds per answer, {tool:9s} median {statistics.median(times):.4f}")


def _said(chosen: list[Point], found: list[Answer]) -> None:
    for point, answer in zip(chosen, found, strict=True):
        if answer.said:
            print(f"aiconfigurator, point {point.number}: {answer.said}")


def _nearer(chosen: list[Point], answers: dict[str, list[Answer]]) -> None:
    """Points on which aiconfigurator is nearer than each of our two predictions."""
    other = answers["aiconfig"]
    for tool in TOOLS[:2]:
        both = [
            (p, mine, its) for p, mine, its in zip(chosen, answers[tool], other, strict=True) if not isnan(its.value)
        ]
        won = [p.number for p, mine, its in both if _distance(its, p) < _distance(mine, p)]
        print(f"aiconfigurator is nearer than {tool} on {len(won)} of {len(both)}: {', '.join(map(str, won))}")


def _distance(found: Answer, point: Point) -> float:
    return abs(log(found.value / point.figure("value")))


if __name__ == "__main__":
    main()
