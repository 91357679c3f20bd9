"""Sets of instructions that kernels are compiled for; the best one that this processor has is used."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Level:
    """flags: the compiler's. needs: names that /proc/cpuinfo lists."""

    flags: tuple[str, ...]
    needs: frozenset[str] = frozenset()


_V4 = frozenset(("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"))
_WIDE = ("-march=x86-64-v4", "-mprefer-vector-width=512")
LEVELS = {  # the best first
    "avx512-bf16": Level(
        (*_WIDE, "-mavx512bf16", "-mavx512vnni", "-mavx512vbmi"), _V4 | {"avx512_bf16", "avx512_vnni", "avx512vbmi"}
    ),
    "x86-64-v4": Level(_WIDE, _V4),
    "x86-64-v3": Level(("-march=x86-64-v3",), frozenset(("avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"))),
    "portable": Level(()),
}


def levels() -> Sequence[str]:
    """Every level that this processor can run, the best first."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ("portable",)
    return [name for name, level in LEVELS.items() if level.needs <= _flags()]


@cache
def _flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
