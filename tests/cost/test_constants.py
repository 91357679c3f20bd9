"""The fitted constants: within what is possible, nearer fits where there were measurements."""

import pytest

from xinqiao.chips import catalog
from xinqiao.cost.constants import Constants, constants

CHIPS = catalog.all_chips()
BETWEEN = {  # a share is of a peak; ratios to another share may be a little above 1
    "compute": (0.4, 1),
    "compute8": (0.5, 1.2),
    "attention": (0.3, 1.5),
    "decoding": (0.3, 1.5),
    "half_rows": (1, 256),
    "memory": (0.5, 1),
    "cache": (0.5, 1.3),
    "sharpness": (1, 16),
    "launch": (5e-7, 2e-5),
    "core": (1e-7, 1e-4),
    "host": (1e-6, 1e-4),
    "step": (1e-4, 2e-2),
    "link": (0.3, 1),
    "latency": (5e-7, 5e-5),
    "imbalance": (1, 2),
    "training": (1, 2),
    "residual": (1, 1),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_every_chips_constants_are_possible(name):
    low, high = BETWEEN[name]
    for chip in CHIPS:
        found = getattr(constants(chip.name, chip.vendor)[0], name)
        assert low <= found.value <= high, chip.name
        assert 0 < found.spread < 3, chip.name


def test_the_table_is_complete():
    assert set(BETWEEN) == set(Constants.__struct_fields__)


@pytest.mark.parametrize(
    ("chip", "vendor", "level"),
    [
        ("nvidia-h100", "NVIDIA", "chip"),
        ("nvidia-h20", "NVIDIA", "vendor"),
        ("ascend-910c", "Huawei", "vendor"),
        ("metax-c500", "MetaX", "shared"),
    ],
)
def test_how_near_the_constants_were_fitted(chip, vendor, level):
    assert catalog.load(chip).vendor == vendor
    assert constants(chip, vendor)[1] == level


def test_what_memory_and_products_reach_together_stays_below_the_peak():
    for chip in CHIPS:
        found = constants(chip.name, chip.vendor)[0]
        assert found.memory.value * found.cache.value < 1, chip.name
        assert found.compute.value * found.compute8.value < 1, chip.name
        assert found.compute.value * found.attention.value < 1, chip.name
