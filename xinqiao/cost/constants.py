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
    attention   the share inside the core of a prompt's attention, relative to `compute`
    decoding    the share inside the core of decoding, relative to `compute`
    half_rows   rows per weight at which a GEMM reaches half of its share
    memory      share of the bandwidth
    cache       share of the bandwidth in reading a KV cache, relative to `memory`
    sharpness   of the roofline's corner: (a^p + b^p)^(1/p) of arithmetic a and traffic b; infinite: the larger one
    launch      seconds from one kernel to the next, where the chip's file states none
    core        seconds that one attention kernel takes at least, beside its launch
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
    decoding: Constant
    half_rows: Constant
    memory: Constant
    cache: Constant
    sharpness: Constant
    launch: Constant
    core: Constant
    host: Constant
    step: Constant
    link: Constant
    latency: Constant
    imbalance: Constant
    training: Constant
    residual: Constant


class Fitted(Struct, frozen=True, forbid_unknown_fields=True):
    """The file: what all chips share, and by name the constants in which vendors and chips differ from that."""

    shared: Constants
    vendor: dict[str, dict[str, Constant]] = {}
    chip: dict[str, dict[str, Constant]] = {}

    def of(self, chip: str, vendor: str) -> tuple[Constants, str]:
        """The constants of a chip by its name, and how near they were fitted: 'chip', 'vendor' or 'shared'."""
        own, theirs = self.chip.get(chip, {}), self.vendor.get(vendor, {})
        found = msgspec.structs.replace(self.shared, **(theirs | own))
        return found, "chip" if own else "vendor" if theirs else "shared"


def read(text: str) -> Fitted:
    """Of a text such as constants.toml's."""
    return msgspec.convert(tomllib.loads(text), Fitted)


@cache
def _frozen() -> Fitted:
    return read(FILE.read_text(encoding="utf-8"))


def constants(chip: str, vendor: str) -> tuple[Constants, str]:
    """The frozen constants of a chip; see `Fitted.of`."""
    return _frozen().of(chip, vendor)
