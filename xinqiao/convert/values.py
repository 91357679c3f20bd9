"""Every value of a converted checkpoint against the source that it came from."""

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from xinqiao.convert.files import Maps
from xinqiao.convert.kernels import Errors, kernels
from xinqiao.convert.layouts.reading import Weight, pair
from xinqiao.convert.manifest import Converted, Distance, Manifest, distance
from xinqiao.convert.reader import Reader
from xinqiao.convert.run import identify
from xinqiao.convert.source import Checkpoint, open_checkpoint

# Below this many dB a weight was not rounded but damaged: honest rounding gives at least twice as many bits of signal.
# A scale that was rounded while the codes stayed gives 4 to 10 dB.
LEAST_DB = {"f32": 100.0, "f16": 40.0, "bf16": 40.0, "e2m1": 10.0, "int4": 10.0}
LEAST_DB_OF_8_BITS = 18.0
SAME_DB = 0.015  # sums in another order, rounded to 0.01
Row = tuple[str, str]  # where, what


class Compared(NamedTuple):
    """What is wrong, and how much was looked at: weights, and the result's bytes of them."""

    rows: list[Row]
    weights: int
    nbytes: int


def compare_with_source(
    folder: Path,
    before: Checkpoint,
    manifest: Manifest | None,
    pool: Executor,
    maps: Maps,
    progress: Callable[[int], None],
) -> Compared:
    """What is wrong, weight by weight. Without a manifest, of any two checkpoints that share their weights' names."""
    after = open_checkpoint(folder, allow_pickle=False, scratch=None)
    if manifest is not None and identify(before) != manifest.source:
        return Compared([(str(before.path), "is not what this checkpoint was converted from")], 0, 0)
    old = {weight.name: weight for weight in pair(before.entries, before.config)}
    new = {weight.name: weight for weight in pair(after.entries, after.config)}
    alone = {
        name: "is only in the source" if name in old else "is not in the source" for name in old.keys() ^ new.keys()
    }
    rows = {row.name: row for row in manifest.weights} if manifest else {}
    names = [name for name in old if name in new]

    def check(name: str) -> str:
        return _check(old[name], new[name], rows.get(name), maps, progress)

    wrong = [(name, what) for name, what in zip(names, pool.map(check, names), strict=True) if what]
    nbytes = sum(new[name].codes.nbytes + (scales.nbytes if (scales := new[name].scales) else 0) for name in names)
    return Compared([*sorted(alone.items()), *wrong], len(names), nbytes)


def _check(old: Weight, new: Weight, row: Converted | None, maps: Maps, progress: Callable[[int], None]) -> str:
    if old.shape != new.shape:
        return f"has the shape {list(new.shape)}, and the source {list(old.shape)}"
    progress(old.codes.nbytes + new.codes.nbytes)
    if (row and row.distance is None) or not old.element:
        return "" if _same_bytes(old, new, maps) else "its bytes are not the source's"
    found = measure(old, new, maps)
    if row is None:
        least = LEAST_DB.get(new.element, LEAST_DB_OF_8_BITS)
        if found.sqnr_db is not None and found.sqnr_db < least:
            return f"{found.sqnr_db:.1f} dB from the source, and rounding to {new.element} leaves more than {least:.0f}"
        return ""
    assert row.distance is not None
    return (
        ""
        if _same(found, row.distance)
        else f"{_words(found)} from the source; the manifest says {_words(row.distance)}"
    )


def _same_bytes(old: Weight, new: Weight, maps: Maps) -> bool:
    first, second = Reader(old, maps), Reader(new, maps)
    for panel in first.panels((1, 0)):
        if first.row_bytes != second.row_bytes or bytes(first.codes(panel)) != bytes(second.codes(panel)):
            return False
        first.release(panel)
        second.release(panel)
    return True


def measure(old: Weight, new: Weight, maps: Maps) -> Distance:
    """How far the values of `new` are from those of `old`, of the same shape."""
    first, second = Reader(old, maps), Reader(new, maps)
    errors = Errors()
    for panel in first.panels(new.block):
        kernels().compare(first.matrix(panel), second.matrix(panel), panel.rows, first.columns, errors)
        first.release(panel)
        second.release(panel)
    return distance(errors)


def _same(a: Distance, b: Distance) -> bool:
    close = a.sqnr_db == b.sqnr_db or (
        a.sqnr_db is not None and b.sqnr_db is not None and abs(a.sqnr_db - b.sqnr_db) < SAME_DB
    )
    counts = all(
        getattr(a, key) == getattr(b, key) for key in ("count", "different", "saturated", "underflowed", "nonfinite")
    )
    return close and counts and a.largest_error == b.largest_error


def _words(found: Distance) -> str:
    if found.sqnr_db is None:
        return "exact"
    return f"{found.sqnr_db:.2f} dB"
