"""How much of a chip's figures kernels reach: few constants, shared by all chips, then by vendor, then by chip.

They are fitted by `benchmarks/fit_cost.py` and frozen in `constants.toml`. Each has a middle and a spread: the standard
deviation of its logarithm, smaller where measurements of that vendor or chip told more.
"""

import tomllib
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

FILE = Path(__file__).with_name("constants.toml")


class Constant(Struct, frozen=True, forbid_unknown_fields=True):
    value: float
    spread: float


class Constants(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a kernel reaches.

    compute     share of the 16-bit peak that a large GEMM reaches
    compute8    that share in 8 bits and below, relative to `compute`
    attention   the share inside attention's core, relative to `compute`
    half_rows   rows per weight at which a GEMM reaches half of its share
    memory      share of the bandwidth
    cache       share of the bandwidth in reading a KV cache, relative to `memory`
    sharpness   of the roofline's corner: (a^p + b^p)^(1/p) of arithmetic a and traffic b; infinite: the larger one
    launch      seconds from one kernel to the next, where the chip's file states none
    host        seconds of the host for one kernel without a graph
    step        seconds of the host for one iteration of a serving engine
    link        share of a link's rate
    latency     seconds of one hop of a message
    imbalance   load of the busiest device's experts over the mean
    training    seconds of a training step's kernels over those of the same kernels in inference
    residual    what is left: a factor on the whole answer
    """

    compute: Constant
    compute8: Constant
    attention: Constant
    half_rows: Constant
    memory: Constant
    cache: Constant
    sharpness: Constant
    launch: Constant
    host: Constant
    step: Constant
    link: Constant
    latency: Constant
    imbalance: Constant
    training: Constant
    residual: Constant


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    shared: Constants
    vendor: dict[str, dict[str, Constant]] = {}
    chip: dict[str, dict[str, Constant]] = {}


@cache
def _file() -> _File:
    return msgspec.convert(tomllib.loads(FILE.read_text(encoding="utf-8")), _File)


def constants(chip: str, vendor: str) -> tuple[Constants, str]:
    """The constants of a chip by its name, and how near they were fitted: 'chip', 'vendor' or 'shared'."""
    file = _file()
    own, theirs = file.chip.get(chip, {}), file.vendor.get(vendor, {})
    found = msgspec.structs.replace(file.shared, **(theirs | own))
    return found, "chip" if own else "vendor" if theirs else "shared"
