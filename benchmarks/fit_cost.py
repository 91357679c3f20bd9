"""Fits the constants of the cost model to published measurements and freezes them in xinqiao/cost/constants.toml.

    python benchmarks/fit_cost.py            # errors of groups that were held out, one group at a time
    python benchmarks/fit_cost.py --write    # … and the file

A constant's logarithm is a sum: shared by all chips + the vendor's + the chip's. Each term has a normal prior around 0
(the shared one around a value that the field reports), so that a vendor without measurements keeps most of the prior
and a wide spread. The maximum of the posterior is found by Gauss-Newton, spreads are the posterior's own.
"""

import argparse
import statistics
from dataclasses import dataclass
from math import exp, log, sqrt
from pathlib import Path

import msgspec
import numpy as np
from published import Point, chip_of, points, predict

from xinqiao.cost import constants as frozen
from xinqiao.cost.constants import Constant, Constants
from xinqiao.cost.price import Z80, Price

# the constant: where the field's reports put it, and the spread of its logarithm between chips
PRIOR = {
    "compute": (0.70, 0.15),
    "compute8": (0.93, 0.10),
    "attention": (0.75, 0.25),
    "half_rows": (16, 0.6),
    "memory": (0.82, 0.06),
    "cache": (0.97, 0.05),
    "sharpness": (1.8, 0.4),
    "launch": (2.5e-6, 0.4),
    "host": (8e-6, 0.5),
    "step": (2e-3, 0.7),
    "link": (0.70, 0.20),
    "latency": (4e-6, 0.5),
    "imbalance": (1.2, 0.12),
    "training": (1.3, 0.2),
}
NAMES = tuple(PRIOR)
VENDOR, CHIP = 0.6, 0.4  # spreads of what a vendor or a chip adds, as shares of the prior's
COVERED = 0.85  # share of held-out points that the 80 % interval is made to hold: chips to come are farther off
BY_CHIP = ("compute", "memory")
# A benchmark's points err together (its software, its clocks), and each alone: the spreads of both.
TOGETHER, ALONE = 0.10, 0.12


@dataclass(frozen=True)
class Direct:
    """A constant that somebody measured on a vendor's chip."""

    vendor: str
    name: str
    value: float
    spread: float
    source: str


KERNELS = "4,776 measured kernels of a 910B, hudingyi688/aiconfigurator-npu (2026-04-14)"
DIRECT = (
    Direct("Huawei", "memory", 1295 / 1600, 0.06, f"201 MB of weights at 1,295 GB/s: {KERNELS}"),
    Direct("Huawei", "compute", 0.85, 0.10, f"large bf16 products reach 92 % of the peak at best: {KERNELS}"),
    Direct("Huawei", "compute8", 0.79 / 0.92, 0.10, f"large int8 products reach 79 % at best: {KERNELS}"),
)


class Layout:
    """Where each term lies in the vector: ('', name), (vendor, name), (chip, name)."""

    def __init__(self, found: list[Point]) -> None:
        chips = {point.chip: chip_of(point.chip).vendor for point in found}
        vendors = sorted({*chips.values(), *(d.vendor for d in DIRECT)})
        self.chips = chips
        self.terms = [("", name) for name in NAMES]
        self.terms += [(vendor, name) for vendor in vendors for name in NAMES]
        self.terms += [(chip, name) for chip in sorted(chips) for name in BY_CHIP]
        self.index = {term: at for at, term in enumerate(self.terms)}
        share = {"": 1.0, **dict.fromkeys(vendors, VENDOR)}
        self.prior = np.array([PRIOR[name][1] * share.get(who, CHIP) for who, name in self.terms])

    def logs(self, vector: np.ndarray, chip: str, vendor: str) -> dict[str, float]:
        owners = ("", vendor, chip)
        return {
            name: log(PRIOR[name][0]) + sum(vector[self.index[w, name]] for w in owners if (w, name) in self.index)
            for name in NAMES
        }

    def constants(self, vector: np.ndarray, chip: str, vendor: str) -> Constants:
        found = {name: Constant(exp(value), 0.0) for name, value in self.logs(vector, chip, vendor).items()}
        return Constants(**found, residual=Constant(1.0, 0.0))


def residual(layout: Layout, vector: np.ndarray, point: Point) -> float:
    """log(predicted / published)."""
    chip = chip_of(point.chip)
    value, _ = predict(point, layout.constants(vector, chip.name, chip.vendor))
    return log(value / point.figure("value"))


def fit(layout: Layout, found: list[Point], rounds: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(the posterior's maximum, its covariance)."""
    vector = np.zeros(len(layout.terms))
    weight = _weights(found)
    ends = [np.array([_direct(layout, d) for d in DIRECT]).reshape(len(DIRECT), -1)]
    precise = np.array([1 / d.spread**2 for d in DIRECT])
    for _ in range(rounds):
        errors = np.array([residual(layout, vector, p) for p in found])
        slope = _slopes(layout, vector, found, errors)
        told = np.array([log(d.value) - layout.logs(vector, "", d.vendor)[d.name] for d in DIRECT])
        precision = slope.T @ weight @ slope + ends[0].T @ (precise[:, None] * ends[0]) + np.diag(1 / layout.prior**2)
        force = -slope.T @ weight @ errors + ends[0].T @ (precise * told) - vector / layout.prior**2
        vector = vector + np.clip(np.linalg.solve(precision, force), -0.4, 0.4)
    return vector, np.linalg.inv(precision)


def _direct(layout: Layout, direct: Direct) -> np.ndarray:
    row = np.zeros(len(layout.terms))
    row[[layout.index["", direct.name], layout.index[direct.vendor, direct.name]]] = 1.0
    return row


def _weights(found: list[Point]) -> np.ndarray:
    """Inverse covariance of points: those of one benchmark and model share an error."""
    groups = [(p.benchmark, p.model, p.chip) for p in found]
    same = np.array([[a == b for b in groups] for a in groups], dtype=float)
    return np.linalg.inv(TOGETHER**2 * same + ALONE**2 * np.eye(len(found)))


def _slopes(layout: Layout, vector: np.ndarray, found: list[Point], errors: np.ndarray) -> np.ndarray:
    """d residual / d term; terms of other chips and vendors do not matter to a point."""
    slope = np.zeros((len(found), len(layout.terms)))
    for at, point in enumerate(found):
        owners = {"": None, point.chip: None, layout.chips[point.chip]: None}
        by_name: dict[str, float] = {}
        for column, (who, name) in enumerate(layout.terms):
            if who not in owners:
                continue
            if name not in by_name:
                moved = vector.copy()
                moved[layout.index["", name]] += 0.02
                by_name[name] = (residual(layout, moved, point) - errors[at]) / 0.02
            slope[at, column] = by_name[name]
    return slope


def frozen_file(layout: Layout, vector: np.ndarray, covariance: np.ndarray, left: float) -> str:
    """The text of constants.toml."""
    lines = ["# Written by benchmarks/fit_cost.py from benchmarks/published.csv. Do not edit.", "", "[shared]"]
    for name in NAMES:
        at = layout.index["", name]
        more = (VENDOR**2 + (CHIP**2 if name in BY_CHIP else 0)) * PRIOR[name][1] ** 2
        spread = sqrt(covariance[at, at] + more)
        lines.append(_line(name, PRIOR[name][0] * exp(vector[at]), spread))
    lines.append(_line("residual", 1.0, left))
    vendors = sorted({who for who, _ in layout.terms if who and who not in layout.chips})
    for vendor in vendors:
        lines += ["", f'[vendor."{vendor}"]']
        lines += [_owned(layout, vector, covariance, ("", vendor), name, CHIP) for name in NAMES]
    for chip, vendor in sorted(layout.chips.items()):
        lines += ["", f"[chip.{chip}]"]
        lines += [_owned(layout, vector, covariance, ("", vendor, chip), name, 0.0) for name in BY_CHIP]
    return "\n".join(lines) + "\n"


def _owned(
    layout: Layout, vector: np.ndarray, covariance: np.ndarray, owners: tuple[str, ...], name: str, more: float
) -> str:
    at = [layout.index[who, name] for who in owners]
    alone = (more * PRIOR[name][1]) ** 2 if name in BY_CHIP else 0.0
    spread = sqrt(covariance[np.ix_(at, at)].sum() + alone)
    return _line(name, PRIOR[name][0] * exp(vector[at].sum()), spread)


def _line(name: str, value: float, spread: float) -> str:
    return f"{name} = {{ value = {value:.4g}, spread = {spread:.3f} }}"


def groups(found: list[Point]) -> dict[str, list[Point]]:
    """Groups that are held out whole: a chip, a family of models, a benchmark."""
    made: dict[str, list[Point]] = {}
    for p in found:
        family = p.model.rpartition("-")[0] if p.model.startswith("llama") else p.model
        for name in (f"chip {p.chip}", f"model {family}" if family else "", f"benchmark {p.benchmark}"):
            if name:
                made.setdefault(name, []).append(p)
    return made


def held_out(layout: Layout, found: list[Point], left: float) -> list[tuple[str, Point, float, float]]:
    """(group, point, log ratio, spread) of every point, predicted without its group."""
    answers = []
    for name, out in groups(found).items():
        rest = [p for p in found if p not in out]
        vector, covariance = fit(layout, rest)
        text = frozen_file(layout, vector, covariance, left)
        file = msgspec.toml.decode(text.encode(), type=frozen._File)
        for point in out:
            chip = chip_of(point.chip)
            known = {p.chip for p in rest}
            merged = file.vendor.get(chip.vendor, {}) | (file.chip.get(chip.name, {}) if chip.name in known else {})
            mine = msgspec.structs.replace(file.shared, **merged)
            value, time = predict(point, mine)
            spread = _spread(point, time, mine)
            answers.append((name, point, log(value / point.figure("value")), spread))
    return answers


def _spread(point: Point, time, mine: Constants) -> float:  # noqa: ANN001
    from xinqiao.cost import software

    price = Price(chip_of(point.chip), software.load(point.software), mine)
    return price.spread(time)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    found = points()
    layout = Layout(found)
    answers = held_out(layout, found, 0.0)
    left = _left(answers)
    by_group: dict[str, list[tuple[float, bool]]] = {}
    for name, point, error, spread in answers:
        wide = Z80 * sqrt(spread**2 + left**2)
        by_group.setdefault(name, []).append((abs(exp(error) - 1), abs(error) <= wide))
    for name, rows in by_group.items():
        print(f"held out: {name:36s} n={len(rows):2d}  median {100 * statistics.median(e for e, _ in rows):5.1f} %"
              f"  inside 80 % interval {sum(i for _, i in rows)}/{len(rows)}")
    every = [row for rows in by_group.values() for row in rows]
    print(f"all held-out predictions: median {100 * statistics.median(e for e, _ in every):.1f} %, "
          f"inside {100 * sum(i for _, i in every) / len(every):.0f} %, residual spread {left:.3f}")
    vector, covariance = fit(layout, found)
    inside = [abs(exp(residual(layout, vector, p)) - 1) for p in found]
    print(f"fitted on all: median {100 * statistics.median(inside):.1f} %, worst {100 * max(inside):.0f} %")
    text = frozen_file(layout, vector, covariance, left)
    print(text)
    if arguments.write:
        frozen.FILE.write_text(text, encoding="utf-8")


def _left(answers: list[tuple[str, Point, float, float]]) -> float:
    """The residual spread with which that share of held-out points lies inside the 80 % interval."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        inside = sum(abs(e) <= Z80 * sqrt(s**2 + middle**2) for _, _, e, s in answers) / len(answers)
        low, high = (middle, high) if inside < COVERED else (low, middle)
    return high


if __name__ == "__main__":
    main()
