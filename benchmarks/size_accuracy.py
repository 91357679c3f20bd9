"""How far predictions of `size` are from what others published; the tables of docs/size-accuracy.md.

    python benchmarks/size_accuracy.py [NAME ...] [--write docs/size-accuracy.md]

NAME: points, groups, coverage, constants, size_peers; all by default. The last runs benchmarks/size_peers.py.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import cache
from math import exp
from pathlib import Path

import fit_cost
from fit_cost import PRIOR, Held
from operator_speed import output, placed
from published import Point, Prediction, chip_of, points, predict

from xinqiao.cost import constants
from xinqiao.cost.price import Interval, interval


@cache
def answers() -> list[Held]:
    found = points()
    return fit_cost.held_out(found, fit_cost.fit(found))


def point_table() -> str:
    """Every point under the frozen constants, which have seen it."""
    found = [(p, predict(p)) for p in points()]
    rows = [_row(point, made) for point, made in found]
    inside = sum(_holds(interval(made.value, made.spread), point) for point, made in found)
    heading = f"{'':73s} {'published':>9s} {'predicted':>9s} {'ratio':>5s}  80 % interval"
    ratios = [abs(made.value / point.figure("value") - 1) for point, made in found]
    worst = max(zip(ratios, found, strict=True), key=lambda each: each[0])[1][0]
    end = f"median {statistics.median(ratios):.1%}, largest {max(ratios):.0%} (point {worst.number}); "
    return "\n".join((heading, *rows, end + f"{inside} of {len(rows)} inside their interval"))


def _row(point: Point, made: Prediction) -> str:
    ends = interval(made.value, made.spread)
    mark = "" if _holds(ends, point) else "  outside"
    return (
        f"{_title(point)} {point.figure('value'):9.5g} {made.value:9.5g} {made.value / point.figure('value'):5.2f}"
        f"  {ends.low:.4g} to {ends.high:.4g}{mark}"
    )


def _title(point: Point) -> str:
    plan = ", ".join(f"{key.upper()} {point.row[key]}" for key in ("tp", "pp", "ep") if point.row[key] not in ("", "1"))
    asked = "+".join(filter(None, (point.input, point.output))) if point.model else ""
    what = point.model or point.phase
    return f"{point.number:2d} {point.benchmark:23s} {point.chip[7:]} {what:16s} {asked:9s} {plan:16s}"


def _holds(ends: Interval, point: Point) -> bool:
    return ends.low <= point.figure("value") <= ends.high


def group_table() -> str:
    """Each group predicted by constants that were fitted without it."""
    rows = [f"{'left out':34s} points  median  largest  ratios from … to"]
    for name in dict.fromkeys(a.group for a in answers()):
        mine = [a for a in answers() if a.group == name]
        ratios = sorted(exp(a.error) for a in mine)
        rows.append(
            f"{name:34s} {len(mine):6d} {statistics.median(a.off for a in mine):7.1%} {max(a.off for a in mine):8.0%}"
            f"  {ratios[0]:.2f} to {ratios[-1]:.2f}"
        )
    rows.append(f"{'every row above':34s} {len(answers()):6d} {statistics.median(a.off for a in answers()):7.1%}")
    worst = {
        number: max((a for a in answers() if a.point.number == number), key=lambda a: a.off) for number in _numbers()
    }
    median = statistics.median(a.off for a in worst.values())
    rows.append(f"{'each point once, its worst row':34s} {len(worst):6d} {median:7.1%}")
    return "\n".join(rows)


def _numbers() -> list[int]:
    return sorted({a.point.number for a in answers()})


def coverage_table() -> str:
    """How many held-out points their 80 % interval holds: with the residual of all groups, and of the others only."""
    left = fit_cost.residual(answers())
    rows = [f"{'left out':34s} points  inside  inside, width set by other groups"]
    totals = [0, 0]
    for name in dict.fromkeys(a.group for a in answers()):
        mine = [a for a in answers() if a.group == name]
        numbers = {a.point.number for a in mine}
        others = fit_cost.residual([a for a in answers() if a.point.number not in numbers])
        counts = [sum(a.inside(spread) for a in mine) for spread in (left, others)]
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        rows.append(f"{name:34s} {len(mine):6d} {counts[0]:7d} {counts[1]:7d}")
    shares = [f"{total / len(answers()):7.0%}" for total in totals]
    return "\n".join((*rows, f"{'every row above':34s} {len(answers()):6d} {shares[0]} {shares[1]}"))


def constant_table() -> str:
    """Where each began, and what the fit made of it: value × or ÷ the spread."""
    vendors = sorted({chip_of(p.chip).vendor for p in points()} | {d.vendor for d in fit_cost.DIRECT})
    chips = sorted({p.chip for p in points()})
    columns = [("shared", "", ""), *((v, "", v) for v in vendors), *((c[7:], c, chip_of(c).vendor) for c in chips)]
    found = {title: constants.constants(chip, vendor)[0] for title, chip, vendor in columns}
    rows = [f"{'':11s} {'prior':>17s}" + "".join(f" {title:>17s}" for title, _, _ in columns)]
    for name in (*PRIOR, "residual"):
        cells = [getattr(each, name) for each in found.values()]
        prior = f"{PRIOR[name][0]:8.3g} ×÷ {exp(PRIOR[name][1]):.2f}" if name in PRIOR else ""
        rows.append(f"{name:11s} {prior:>17s}" + "".join(f" {c.value:9.3g} ×÷ {exp(c.spread):4.2f}" for c in cells))
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "points": point_table,
    "groups": group_table,
    "coverage": coverage_table,
    "constants": constant_table,
    "size_peers": lambda: output("size_peers"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=TABLES)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    for name in options.names:
        text = TABLES[name]()
        if name != "size_peers":  # prints as it goes
            print(f"== {name}\n{text}", flush=True)
        if options.write:
            options.write.write_text(placed(options.write.read_text(), name, text))


if __name__ == "__main__":
    main()
