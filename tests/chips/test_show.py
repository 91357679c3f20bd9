"""What `xinqiao chips` shows."""

import io
import json

import pytest
from rich.console import Console

from xinqiao.chips.catalog import load, names
from xinqiao.chips.show import catalogue_rows, describe, figures, print_catalogue, print_chip


def printed(show, *args):
    console = Console(file=io.StringIO(), width=100)
    show(*args, console)
    return console.file.getvalue()


def test_catalogue_is_json_and_lists_all():
    data = json.loads(json.dumps(catalogue_rows()))
    assert data["schema"] == 1
    assert [row["name"] for row in data["chips"]] == names()


def test_catalogue_as_a_table():
    lines = printed(print_catalogue).splitlines()
    row = next(line for line in lines if "kunlun-p800" in line)
    assert row.split() == ["kunlun-p800", "cuda", "345", "?", "96", "GiB", "?", "shipping"]


@pytest.mark.parametrize("name", names())
def test_a_description_is_json_with_every_source(name):
    data = json.loads(json.dumps(describe(load(name))))
    assert data["schema"] == 1
    for figure in [*data["compute"].values(), *data["memory"].values(), *data["links"].values()]:
        assert figure["source"] or figure["confidence"] == "unknown"


def test_a_description_has_one_devices_share():
    device = describe(load("910c"))["per_device"]
    assert device["capacity"] == 64 * 2**30
    assert device["peaks"]["float16"]["value"] == 376e12
    assert device["peaks"]["float8_e4m3fn"] == {"value": None, "why": "the chip has no fp8"}


@pytest.mark.parametrize("name", names())
def test_a_page_shows_every_figure(name):
    chip = load(name)
    page = printed(print_chip, chip)
    [unknown] = [line for line in page.splitlines() if line.startswith("unknown: ")]
    for key, figure in figures(chip):
        if figure.known:
            [row] = [line for line in page.splitlines() if line.startswith(f"{key} ")]
            assert str(figure) in row
            assert figure.confidence in row
        else:
            assert key in unknown


@pytest.mark.parametrize(
    "text",
    [
        "rejected: 1800 TFLOPS FP16: the vendor says 752 = 2 x 376",
        "2 devices a package, 16 devices a server",
        "lacks: fp8, fp4",
        "refused float8_e4m3fn",
        "an operator without kernel: fallback",
    ],
)
def test_a_page_shows_what_is_not_a_number(text):
    assert text in printed(print_chip, load("910c"))
