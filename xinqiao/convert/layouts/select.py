"""Which weights are quantised: those of linear layers and experts."""

from typing import Any

from xinqiao.convert.layouts.reading import Weight
from xinqiao.convert.layouts.table import Layout


def which(weight: Weight, layout: Layout, config: dict[str, Any]) -> tuple[str, str]:
    """('convert' or 'keep', why)."""
    name = weight.name
    if not name.endswith(".weight") or len(weight.shape) < 2:
        return ("keep", "not a matrix") if weight.scales is None else ("convert", "matrix")
    if layout.scale is None:
        return "convert", "every matrix"
    for part in ("embed", "norm", "lm_head", ".gate.weight"):
        if part in name:
            return "keep", f"{part.strip('.')} stays in full precision"
    return "convert", "weights of linear layers"
