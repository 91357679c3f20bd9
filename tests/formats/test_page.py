"""docs/formats.md says what the code does: its tables are made here, and compared."""

import re
from pathlib import Path

import pytest
import torch

from tests.formats.test_elements import DIFFERENCES
from xinqiao.formats.blocks import LAYOUTS, dequantize, largest, quantize
from xinqiao.formats.elements import ELEMENTS
from xinqiao.formats.scales import RULES

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
PLACE = "<!-- checked: {} -->\n\n"
USES = {
    "per tensor": "scales of a whole matrix",
    "per channel": "int8 weights: one for each output feature",
    "per token": "int8 activations: one for each token",
    "1x128": "DeepSeek's activations",
    "128x128": "DeepSeek's weights",
    "1x32": "OCP MX: MXFP8, MXFP6, MXFP4",
}
COSTS = [  # element, block, scale, rule
    ("bf16", "per tensor", None, ""),
    ("int8", "per channel", "f32", ""),
    ("int8", "128x128", "f32", ""),
    ("hif8", "per channel", "f32", ""),
    ("hif8", "1x32", "pow2", "ceil"),
    ("e4m3fn", "128x128", "f32", ""),
    ("e4m3fn", "128x128", "bf16", ""),
    ("e4m3fn", "128x128", "pow2", "ceil"),
    *(("e4m3fn", "1x32", "pow2", rule) for rule in RULES),
    ("e5m2", "1x32", "pow2", "ceil"),
    ("e2m3", "1x32", "pow2", "ceil"),
    ("e3m2", "1x32", "pow2", "ceil"),
    ("int4", "1x32", "f32", ""),
    *(("e2m1", "1x32", "pow2", rule) for rule in RULES),
]


def number(value):
    """As a person writes it: 448, 0.5, 2^-9, 3.4e38."""
    if value != value or value in (torch.inf, -torch.inf):
        return {"nan": "NaN", "inf": "∞"}[str(value)]
    if value == 0 or 0.1 <= value < 100_000:
        return f"{value:g}"
    power = torch.tensor(value, dtype=torch.float64).frexp()
    return f"2^{power.exponent.item() - 1}" if power.mantissa == 0.5 else f"{value:.2e}".replace("e+", "e")


def bits(row):
    return f"1 + {row.exponent} + {row.mantissa}" if row.kind == "float" else str(row.bits)


def specials(row):
    zero = "−0" if row.minus_zero else ""
    return ", ".join(
        filter(None, (zero, "∞" if row.infinity is not None else "", "NaN" if row.nan is not None else ""))
    )


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def formats():
    return table(
        ["name", "bits", "bias", "largest", "smallest normal", "smallest", "has", "in words", "source"],
        [
            [
                f"`{row.name}`",
                bits(row),
                str(row.bias or "–"),
                number(row.largest),
                number(row.smallest_normal) if row.kind == "float" else "–",
                number(row.smallest),
                specials(row) or "–",
                row.words,
                row.source,
            ]
            for row in ELEMENTS.values()
        ],
    )


def layouts():
    return table(
        ["blocks", "rows", "columns", "used for"],
        [[name, *(str(n) if n else "all" for n in block), USES[name]] for name, block in LAYOUTS.items()],
    )


def rules():
    return table(["rule", "which power of two"], [[f"`{name}`", words] for name, words in RULES.items()])


def differences():
    return table(
        ["number", "format", "here", "PyTorch", "ml_dtypes, en_dtypes"],
        [
            [plain(value), f"`{element}`", *("–" if v is None else plain(v) for v in others)]
            for value, element, *others in DIFFERENCES
        ],
    )


def plain(value):
    return "−" + number(-value) if str(value).startswith("-") else number(value)


@pytest.mark.parametrize("name", ["formats", "layouts", "rules", "differences"])
def test_table(name):
    """Where this fails, the page gets what is expected here."""
    found = PAGE.read_text().partition(PLACE.format(name))[2].partition("\n\n")[0] + "\n"
    assert found == globals()[name]()


def weights():
    generator = torch.Generator().manual_seed(0)
    gauss = torch.randn(1024, 1024, generator=generator)
    size = torch.randn(4, 1024, 1024, generator=generator).square().mean(0).sqrt()
    return gauss, torch.randn(1024, 1024, generator=generator) / size


def cost(element, block, scale, rule):
    """(dB of Gaussian weights, dB of heavy tails, saturated blocks in percent)."""
    found, saturated = [], []
    for values in weights():
        codes, scales = quantize(values, element, LAYOUTS[block], scale, rule)
        off = values.double() - dequantize(codes, scales, element, LAYOUTS[block])
        found.append(10 * torch.log10(values.double().square().sum() / off.square().sum()).item())
        reach = scales.double() * ELEMENTS[element].largest * (1 + 2**-22)  # fp32 scales are rounded
        saturated.append(100 * (largest(values, LAYOUTS[block]) > reach).double().mean().item())
    return [*found, saturated[0]]


@pytest.mark.parametrize("row", COSTS, ids=lambda row: "-".join(map(str, row)))
def test_costs(row):
    element, block, scale, rule = row
    how = "unscaled" if scale is None else f"{scale}, {rule}" if rule else scale
    lines = PAGE.read_text().partition(PLACE.format("costs"))[2].partition("\n\n")[0].splitlines()
    said = next((line for line in lines if line.startswith(f"| `{element}` | {block} | {how} |")), "")
    measured = cost(element, block, scale, rule)
    wanted = f"| `{element}` | {block} | {how} | {measured[0]:.1f} | {measured[1]:.1f} | {measured[2]:.0f} % |"
    numbers = [float(n) for n in re.findall(r"\| ([\d.]+)(?= [|%])", said)]
    assert numbers == pytest.approx(measured, abs=0.6 if numbers[2:] != [0] else 0.1), wanted
    assert numbers[:2] == pytest.approx(measured[:2], abs=0.07), wanted
