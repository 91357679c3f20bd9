"""Published measurements and what `size` predicts for them; every point's ratio, and the errors by benchmark.

python benchmarks/published.py
"""

import csv
import statistics
from dataclasses import dataclass
from functools import cache
from math import exp, log
from pathlib import Path
from typing import NamedTuple

from xinqiao.chips import catalog, nodes
from xinqiao.cost import software
from xinqiao.cost.constants import Constants
from xinqiao.cost.kernel import gemm
from xinqiao.cost.price import Price
from xinqiao.cost.time import Time
from xinqiao.size import catalogue, speed, training
from xinqiao.size.iteration import Engine, transfer
from xinqiao.size.operators import Message
from xinqiao.size.plan import Formats, Plan

FILE = Path(__file__).with_name("published.csv")
chip_of, model_of = cache(catalog.load), cache(catalogue.load)
node_of = cache(lambda name: nodes.of(chip_of(name)))
MAX_BATCH_MEMORY = 0.93 * 0.9  # engines of that benchmark: 93 % of the device, of what is left 90 % for the cache


@dataclass(frozen=True)
class Point:
    """One row of the file that can be predicted."""

    number: int
    row: dict[str, str]

    def __getattr__(self, name: str) -> str:
        return self.row[name]

    def figure(self, name: str) -> float:
        return float(self.row[name])

    @property
    def plan(self) -> Plan:
        return Plan(**{k: int(self.row[k]) for k in ("tp", "pp", "dp", "ep")})


def points() -> list[Point]:
    """Rows that state all that a prediction needs."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return [Point(n, row) for n, row in enumerate(csv.DictReader(file), 1) if not row["left_out"]]


def engine(point: Point, found: Constants | None) -> Engine:
    chip = chip_of(point.chip)
    model = model_of(point.model)
    formats = Formats(weights=point.weights, cache="bf16" if "deepseek" in point.model else point.weights)
    return Engine(model, point.plan, formats, Price(chip, software.load(point.software), found), node_of(point.chip))


class Prediction(NamedTuple):
    """value: in the point's own unit; time: what the seconds are spent on."""

    value: float
    time: Time
    price: Price

    @property
    def spread(self) -> float:
        """Standard deviation of the value's logarithm."""
        return self.price.spread(self.time)


def predict(point: Point, found: Constants | None = None) -> Prediction:
    """found: constants to use instead of the frozen ones."""
    if point.phase.startswith("gemm"):
        return _product(point, found)
    if point.phase in ("dispatch", "combine"):
        return _message(point, found)
    made = engine(point, found)
    return Prediction(*_KINDS[point.phase](point, made), made.price)


def _product(point: Point, found: Constants | None) -> Prediction:
    m, n, k = map(int, point.phase.split()[1:])
    price = Price(chip_of(point.chip), software.load(point.software), found)
    time = price.kernel(gemm(m, n, k, point.weights))
    return Prediction(2 * m * n * k / time.seconds / 1e12, time, price)


def _message(point: Point, found: Constants | None) -> Prediction:
    price = Price(chip_of(point.chip), software.load(point.software), found)
    wide = Engine(model_of("deepseek-v3"), point.plan, Formats(), price, node_of(point.chip))
    size = 7168 * (1.03 if point.weights == "fp8" else 2.0)
    moved = transfer(wide, Message(point.phase, size, int(point.ep), 1, point.figure("sequences"), 8))
    time = Time(link=moved.link, latency=moved.latency)
    return Prediction(time.seconds * 1e6, time, price)


def _static(point: Point, made: Engine) -> tuple[float, Time]:
    found = speed.static(made, point.figure("sequences"), point.figure("input"), point.figure("output"))
    return found.per_second / made.plan.tp, found.time


def _first_token(point: Point, made: Engine) -> tuple[float, Time]:
    found = speed.prefill(made, 1, point.figure("input"))
    return found.time.seconds * 1e3, found.time


def _load(point: Point, made: Engine) -> tuple[float, Time]:
    found = speed.loaded(made, in_flight(point, made), point.figure("input"), point.figure("output"))
    return found.per_second, found.time


def in_flight(point: Point, made: Engine) -> float:
    """Sequences at maximum load, which no row states: as many as the cache holds when they are half answered."""
    model, tp = made.model, made.plan.tp
    layer = model.layers[0].attention
    free = made.price.device.capacity * MAX_BATCH_MEMORY - model.parameters() / tp - 3e9
    a_token = sum(each.count for each in model.layers) * max(layer.kv_heads / tp, 1) * 2 * layer.head_dim
    size = point.figure("input") + point.figure("output") * 0.55
    return min(made.software.sequences, point.figure("requests"), free / a_token / size)


def _prefill(point: Point, made: Engine) -> tuple[float, Time]:
    balanced = made._replace(imbalance=1.0 if "perfect EPLB" in point.source else None, redundant=32)
    found = speed.prefill(balanced, point.figure("sequences"), point.figure("input"))
    return found.per_second, found.time


def _decode(point: Point, made: Engine) -> tuple[float, Time]:
    found = speed.decode(made, point.figure("sequences"), point.figure("input"))
    return found.per_second, found.time


def _train(point: Point, made: Engine) -> tuple[float, Time]:
    """DeepSeek-V3 (arXiv:2412.19437): 15,360 sequences a step, micro-batches of one, ZeRO-1 over 128 replicas."""
    sequences, length = 15360 / made.plan.dp, point.figure("input")
    expert = made.model.parameters("experts")
    mine = expert / made.plan.ep / made.plan.pp + (made.model.parameters() - expert) / made.plan.pp
    found = training.step(made, training.Training(sequences, length, trained=mine, shards=made.plan.dp))
    rate = sequences * length * made.plan.dp / found.seconds / made.plan.devices
    return 1e12 / rate / 3600, found


_KINDS = {
    "static": _static,
    "first-token": _first_token,
    "load": _load,
    "prefill": _prefill,
    "decode": _decode,
    "train": _train,
}


def main() -> None:
    errors: dict[str, list[float]] = {}
    for point in points():
        value, time, _ = predict(point)
        ratio = value / point.figure("value")
        errors.setdefault(point.benchmark, []).append(abs(log(ratio)))
        shares = ((name, part / time.seconds) for name, part in time._asdict().items())
        parts = " ".join(f"{name} {share:.0%}" for name, share in shares if share > 0.03)
        print(
            f"{point.number:3d} {point.chip:12s} {point.model or point.phase:16s} {point.benchmark:24s} "
            f"{point.figure('value'):9.6g} → {value:9.1f} {point.unit:28s} × {ratio:.2f}  {parts}"
        )
    for name, found in errors.items():
        print(f"{name:24s} n={len(found):2d}  median {100 * (exp(statistics.median(found)) - 1):.1f} %")


if __name__ == "__main__":
    main()
