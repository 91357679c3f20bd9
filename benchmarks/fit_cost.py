"""Fits the constants of the cost model to published measurements and freezes them in xinqiao/cost/constants.toml.

    python benchmarks/fit_cost.py            # errors of groups that were held out, one group at a time
    python benchmarks/fit_cost.py --write    # … and the file

A constant's logarithm is a sum: shared by all chips + the vendor's + the chip's. Each term has a normal prior around 0
(the shared one around a value that the field reports), so that a vendor without measurements keeps most of the prior
and a wide spread. The maximum of the posterior is found by Gauss-Newton, spreads are the posterior's own.
"""

import argparse
import statistics
from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np
from published import Point, chip_of, points, predict

from xinqiao.cost import constants
from xinqiao.cost.constants import Constant, Constants
from xinqiao.cost.price import Z80

# the constant: where the field's reports put it, and the spread of its logarithm between chips
PRIOR = {
    "compute": (0.70, 0.15),
    "compute8": (0.93, 0.10),
    "attention": (0.70, 0.25),
    "decoding": (0.87, 0.12),
    "half_rows": (16, 0.6),
    "memory": (0.82, 0.06),
    "cache": (0.97, 0.05),
    "sharpness": (1.8, 0.4),
    "launch": (2.5e-6, 0.4),
    "core": (4e-6, 0.5),
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
TOGETHER, ALONE = 0.05, 0.12
ROUNDS, CONVERGED, LONGEST = 60, 1e-3, 0.4  # of Gauss-Newton: a step is as long as the logarithm it moves most
MOVED = 0.02  # of a logarithm, for slopes


class Direct(NamedTuple):
    """A constant that somebody measured on a vendor's chip."""

    vendor: str
    name: str
    value: float
    spread: float
    source: str


KERNELS = "4,776 kernels of a 910B measured by hudingyi688/aiconfigurator-npu (2026-04-14); benchmarks/npu_kernels.py"
DIRECT = (
    Direct("Huawei", "compute", 0.88, 0.06, f"bf16 products of 2048 rows and more: {KERNELS}"),
    Direct("Huawei", "compute8", 0.71 / 0.88, 0.06, f"int8 ones: {KERNELS}"),
    Direct("Huawei", "attention", 0.36 / 0.88, 0.12, f"prompts of 10^11 operations and more: {KERNELS}"),
    Direct("Huawei", "memory", 0.79, 0.05, f"products of 16 rows and less with large weights: {KERNELS}"),
    Direct("Huawei", "cache", 0.68 / 0.79, 0.08, f"decoding with 300 MB of cache and more: {KERNELS}"),
    Direct("Huawei", "core", 50e-6, 0.30, f"attention of almost no work takes 58 to 65 us: {KERNELS}"),
)
BY_SOFTWARE = {"core": 1.0}  # constants that vendors' software sets more than their chips: spread between vendors


class Layout:
    """Where each term lies in the vector: ('', name), (vendor, name), (chip, name)."""

    def __init__(self, found: list[Point]) -> None:
        chips = {point.chip: chip_of(point.chip).vendor for point in found}
        vendors = sorted({*chips.values(), *(d.vendor for d in DIRECT)})
        self.chips, self.vendors = chips, vendors
        self.terms = [("", name) for name in NAMES]
        self.terms += [(vendor, name) for vendor in vendors for name in NAMES]
        self.terms += [(chip, name) for chip in sorted(chips) for name in BY_CHIP]
        self.index = {term: at for at, term in enumerate(self.terms)}
        share = {"": 1.0, **dict.fromkeys(vendors, VENDOR)}
        self.prior = np.array([_spread_of(name, share.get(who, CHIP)) for who, name in self.terms])

    def logs(self, vector: np.ndarray, *owners: str) -> dict[str, float]:
        """owners: '' for the shared terms, then a vendor, then a chip."""
        return {
            name: log(PRIOR[name][0]) + sum(vector[self.index[w, name]] for w in owners if (w, name) in self.index)
            for name in NAMES
        }

    def constants(self, vector: np.ndarray, chip: str, vendor: str) -> Constants:
        found = {name: Constant(exp(value), 0.0) for name, value in self.logs(vector, "", vendor, chip).items()}
        return Constants(**found, residual=Constant(1.0, 0.0))


def _spread_of(name: str, share: float) -> float:
    return BY_SOFTWARE[name] if name in BY_SOFTWARE and share == VENDOR else PRIOR[name][1] * share


class Fit(NamedTuple):
    """The posterior's maximum and its covariance; terms are those of the layout."""

    layout: Layout
    vector: np.ndarray
    covariance: np.ndarray

    def text(self, left: float = 0.0) -> str:
        """Of constants.toml; left: spread of the residual."""
        lines = ["# Written by benchmarks/fit_cost.py from benchmarks/published.csv. Do not edit.", "", "[shared]"]
        lines += [self._line(("",), name) for name in NAMES]
        lines.append(_line("residual", 1.0, left))
        for vendor in self.layout.vendors:
            lines += ["", f'[vendor."{vendor}"]', *(self._line(("", vendor), name) for name in NAMES)]
        for chip, vendor in sorted(self.layout.chips.items()):
            lines += ["", f"[chip.{chip}]", *(self._line(("", vendor, chip), name) for name in BY_CHIP)]
        return "\n".join(lines) + "\n"

    def constants(self, chip: str) -> Constants:
        """As a reader of the file finds them."""
        return constants.read(self.text()).of(chip, chip_of(chip).vendor)[0]

    def _line(self, owners: tuple[str, ...], name: str) -> str:
        """The sum of those owners' terms; its spread has those of the levels below, which are not known."""
        at = [self.layout.index[who, name] for who in owners]
        below = _spread_of(name, VENDOR) ** 2 if len(owners) < 2 else 0.0
        below += _spread_of(name, CHIP) ** 2 if len(owners) < 3 and name in BY_CHIP else 0.0
        value = PRIOR[name][0] * exp(self.vector[at].sum())
        return _line(name, value, sqrt(self.covariance[np.ix_(at, at)].sum() + below))


class Held(NamedTuple):
    """A point as predicted without its group. error: log(predicted / published); spread: without the residual's."""

    group: str
    point: Point
    error: float
    spread: float

    @property
    def off(self) -> float:
        return abs(exp(self.error) - 1)

    def inside(self, left: float) -> bool:
        """Whether the 80 % interval holds what was published."""
        return abs(self.error) <= Z80 * sqrt(self.spread**2 + left**2)


def error(point: Point, found: Constants | None = None) -> float:
    """log(predicted / published)."""
    return log(predict(point, found).value / point.figure("value"))


def fit(found: list[Point], start: Fit | None = None) -> Fit:
    """Converged; `start` only says where to begin."""
    layout = Layout(found)
    vector = np.zeros(len(layout.terms))
    if start:
        known = [term for term in layout.terms if term in start.layout.index]
        vector[[layout.index[t] for t in known]] = start.vector[[start.layout.index[t] for t in known]]
    weight = _weights(found)
    ends = np.array([_direct(layout, d) for d in DIRECT])
    precise = np.array([1 / d.spread**2 for d in DIRECT])
    for _ in range(ROUNDS):
        errors, slope = _linear(layout, vector, found)
        told = np.array([log(d.value) - layout.logs(vector, "", d.vendor)[d.name] for d in DIRECT])
        precision = slope.T @ weight @ slope + ends.T @ (precise[:, None] * ends) + np.diag(1 / layout.prior**2)
        force = -slope.T @ weight @ errors + ends.T @ (precise * told) - vector / layout.prior**2
        step = np.linalg.solve(precision, force)
        vector = vector + np.clip(step, -LONGEST, LONGEST)
        if np.abs(step).max() < CONVERGED:
            return Fit(layout, vector, np.linalg.inv(precision))
    raise ArithmeticError(f"constants still move by {np.abs(step).max():.1%} after {ROUNDS} rounds")


def _direct(layout: Layout, direct: Direct) -> np.ndarray:
    row = np.zeros(len(layout.terms))
    row[[layout.index["", direct.name], layout.index[direct.vendor, direct.name]]] = 1.0
    return row


def _weights(found: list[Point]) -> np.ndarray:
    """Inverse covariance of points: those of one benchmark and model share an error."""
    groups = [(p.benchmark, p.model, p.chip) for p in found]
    same = np.array([[a == b for b in groups] for a in groups], dtype=float)
    return np.linalg.inv(TOGETHER**2 * same + ALONE**2 * np.eye(len(found)))


def _linear(layout: Layout, vector: np.ndarray, found: list[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Every point's error, and d error / d term; a constant moves a point alike, whichever of its terms does."""
    errors, slope = np.zeros(len(found)), np.zeros((len(found), len(layout.terms)))
    for at, point in enumerate(found):
        vendor = layout.chips[point.chip]
        errors[at] = error(point, layout.constants(vector, point.chip, vendor))
        for name in NAMES:
            columns = [layout.index[w, name] for w in ("", vendor, point.chip) if (w, name) in layout.index]
            moved = vector.copy()
            moved[columns[0]] += MOVED
            slope[at, columns] = (error(point, layout.constants(moved, point.chip, vendor)) - errors[at]) / MOVED
    return errors, slope


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


def held_out(found: list[Point], start: Fit, chosen: dict[str, list[Point]] | None = None) -> list[Held]:
    """Every point of those groups (all by default), predicted from a fit that never saw its group: once a group."""
    fits: dict[tuple[int, ...], Fit] = {}  # some groups are the same points
    answers = []
    for name, out in (chosen or groups(found)).items():
        key = tuple(p.number for p in out)
        if key not in fits:
            fits[key] = fit([p for p in found if p not in out], start)
        answers += [_held(name, point, fits[key]) for point in out]
    return answers


def _held(group: str, point: Point, found: Fit) -> Held:
    made = predict(point, found.constants(point.chip))
    return Held(group, point, log(made.value / point.figure("value")), made.spread)


def residual(answers: list[Held]) -> float:
    """The residual's spread with which `COVERED` of held-out points lie inside the 80 % interval."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        inside = sum(a.inside(middle) for a in answers) / len(answers)
        low, high = (middle, high) if inside < COVERED else (low, middle)
    return high


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    found = points()
    whole = fit(found)
    answers = held_out(found, whole)
    left = residual(answers)
    for name in dict.fromkeys(a.group for a in answers):
        rows = [a for a in answers if a.group == name]
        print(f"held out: {name:36s} {_summary(rows, left)}")
    print(f"{'all held-out predictions':46s} {_summary(answers, left)}, residual spread {left:.3f}")
    off = [abs(exp(error(p, whole.constants(p.chip))) - 1) for p in found]
    print(f"fitted on all: median {100 * statistics.median(off):.1f} %, worst {100 * max(off):.0f} %")
    print(whole.text(left))
    if arguments.write:
        constants.FILE.write_text(whole.text(left), encoding="utf-8")


def _summary(rows: list[Held], left: float) -> str:
    inside = sum(a.inside(left) for a in rows)
    median = statistics.median(a.off for a in rows)
    return f"n={len(rows):3d}  median {100 * median:5.1f} %  inside 80 % interval {inside}/{len(rows)}"


if __name__ == "__main__":
    main()
