"""How a GGUF file says that rotary positions are stretched to a longer context, as config.json says it."""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from xinqiao.convert.source.documents import regular
from xinqiao.convert.source.entry import Entry
from xinqiao.convert.source.gguf import Value
from xinqiao.errors import InputError

FACTORS = "rope_freqs.weight"  # a divisor of each frequency
# Of every published model that has such factors: https://github.com/meta-llama/llama-models (apply_scaling)
_LOW, _HIGH, _ORIGINAL = 1.0, 4.0, 8192
_MOST = 4096  # factors
_YARN = {"yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow", "attn_factor": "attention_factor"}


def scaling(metadata: Mapping[str, Value], file: Path, factors: Entry | None) -> dict[str, Any]:
    """{} or {'rope_scaling': ...}. factors: the tensor FACTORS. InputError where config.json has no words for it."""
    name = metadata["general.architecture"]
    kind = metadata.get(f"{name}.rope.scaling.type", "none")
    base = metadata.get(f"{name}.rope.freq_base", 10000.0)
    if factors is not None:
        if kind != "none" or not isinstance(base, int | float):
            raise InputError(f"{file}: {FACTORS} and a scaling {str(kind)[:40]!r} together are not read")
        return _llama3(factors, base)
    if kind == "none":
        return {}
    factor = metadata.get(f"{name}.rope.scaling.factor")
    if kind not in ("linear", "yarn") or not _positive(factor):
        raise InputError(f"{file}: {name}.rope.scaling.type {str(kind)[:40]!r} (factor {str(factor)[:40]}) is not read")
    found: dict[str, Any] = {"rope_type": kind, "factor": float(f"{factor:.7g}")}
    original = metadata.get(f"{name}.rope.scaling.original_context_length")
    if kind == "yarn" and isinstance(original, int):
        found["original_max_position_embeddings"] = original
    for source, key in _YARN.items():
        value = metadata.get(f"{name}.rope.scaling.{source}")
        if kind == "yarn" and _positive(value):
            found[key] = float(f"{value:.7g}")
    return {"rope_scaling": found}


def _positive(value: Value | None) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and 0 < value < math.inf


def _llama3(entry: Entry, base: float) -> dict[str, Any]:
    if entry.dtype != "F32" or len(entry.shape) != 1 or not 0 < entry.shape[0] <= _MOST or not base > 1:
        raise InputError(f"{entry.file}: {FACTORS}: not a list of fp32 numbers")
    with regular(entry.file).open("rb") as opened:
        opened.seek(entry.offset)
        stored = struct.unpack(f"<{entry.shape[0]}f", opened.read(entry.nbytes))
    factor = max(stored)
    count = len(stored)
    meant = (
        [_stretch(base ** (i / count) * 2 * math.pi, factor) for i in range(count)] if 1 <= factor < math.inf else []
    )
    if not meant or not all(math.isclose(a, b, rel_tol=1e-4) for a, b in zip(stored, meant, strict=True)):
        raise InputError(f"{entry.file}: {FACTORS}: not the factors of a known rule, which config.json could name")
    rule = {"rope_type": "llama3", "factor": factor, "low_freq_factor": _LOW, "high_freq_factor": _HIGH}
    return {"rope_scaling": rule | {"original_max_position_embeddings": _ORIGINAL}}


def _stretch(wavelength: float, factor: float) -> float:
    """The factor of one frequency: 1 for short waves, all of it for long ones, smooth between."""
    turns = _ORIGINAL / wavelength
    if turns > _HIGH:
        return 1.0
    if turns < _LOW:
        return factor
    smooth = (turns - _LOW) / (_HIGH - _LOW)
    return 1 / ((1 - smooth) / factor + smooth)
