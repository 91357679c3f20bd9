"""--chip picks the best format that the chip multiplies natively, and says why."""

import pytest

from xinqiao.chips import catalog
from xinqiao.convert.choose import choose
from xinqiao.errors import InputError

CHOICES = [
    ("ascend-910b", "int8-channel", "no fp8_e4m3fn"),
    ("ascend-910c", "int8-channel", "no fp8_e4m3fn"),
    ("kunlun-p800", "int8-channel", "no fp8_e4m3fn"),
    ("ascend-950pr", "mxfp8", "holds UE8M0 block FP8 exactly"),
    ("moore-threads-s5000", "fp8-ue8m0", "mxfp8 is not known of it"),
    ("nvidia-h200", "fp8-ue8m0", "multiplies FP8"),
    ("nvidia-a100", "int8-channel", "no fp8_e4m3fn"),
]


@pytest.mark.parametrize(("chip", "layout", "reason"), CHOICES)
def test_choice(chip, layout, reason):
    choice = choose(catalog.load(chip), {})
    assert choice.layout == layout
    assert reason in choice.reason


@pytest.mark.parametrize(("more", "layout"), [({}, "fp8-block"), ({"scale_fmt": "ue8m0"}, "fp8-ue8m0")])
def test_fp8_with_f32_scales_keeps_them(more, layout):
    config = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128], **more}}
    assert choose(catalog.load("nvidia-h200"), config).layout == layout
    assert choose(catalog.load("ascend-950pr"), config).layout == "mxfp8"


def test_every_chip_gets_a_format_or_a_reason():
    for name in catalog.names():
        try:
            assert choose(catalog.load(name), {}).reason
        except InputError as error:
            assert "number formats are not known" in str(error)
