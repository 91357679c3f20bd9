"""A figure as a specification: what is legal, and what it says in SI units."""

import pytest

from xinqiao.chips.figures import Bandwidth, Capacity, Duration, Figure, Link, Peak, Power

SAID = {"confidence": "vendor", "source": "data sheet"}


@pytest.mark.parametrize(
    ("figure", "si", "interval", "text"),
    [
        (Peak(value=376, unit="TFLOPS", dense=True, **SAID), 376e12, (376e12, 376e12), "376 TFLOPS dense"),
        (
            Peak(low=80, high=280, unit="TFLOPS", dense=True, **SAID),
            180e12,
            (80e12, 280e12),
            "80-280 TFLOPS dense",
        ),
        (Peak(value=752, unit="TOPS", dense=False, **SAID), 752e12, (752e12, 752e12), "752 TOPS sparse"),
        (Capacity(value=64, unit="GiB", **SAID), 64 * 2**30, (64 * 2**30, 64 * 2**30), "64 GiB"),
        (Capacity(value=64, unit="GB", **SAID), 64e9, (64e9, 64e9), "64 GB"),
        (Bandwidth(value=1.6, unit="TB/s", **SAID), 1.6e12, (1.6e12, 1.6e12), "1.6 TB/s"),
        (Bandwidth(value=768, unit="GB/s", **SAID), 768e9, (768e9, 768e9), "768 GB/s"),
        (
            Link(value=392, unit="GB/s", direction="one-way", **SAID),
            392e9,
            (392e9, 392e9),
            "392 GB/s one-way",
        ),
        (Power(low=310, high=400, unit="W", **SAID), 355, (310, 400), "310-400 W"),
        (Duration(value=2, unit="us", **SAID), 2e-6, (2e-6, 2e-6), "2 us"),
        (Peak(), None, None, "unknown"),
        (Capacity(note="undisclosed"), None, None, "unknown"),
    ],
    ids=str,
)
def test_legal(figure, si, interval, text):
    assert figure.si == pytest.approx(si)
    assert figure.interval == (interval and pytest.approx(interval))
    assert str(figure) == text


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [
        (Capacity, {"value": 1, "unit": "TB", **SAID}, "unit: 'TB' is not one of GB, GiB"),
        (Capacity, {"value": 1, **SAID}, "unit: '' is not one of GB, GiB"),
        (Bandwidth, {"value": 1, "unit": "Gb/s", **SAID}, "unit: 'Gb/s' is not one of GB/s, TB/s"),
        (
            Peak,
            {"value": 1, "unit": "GFLOPS", "dense": True, **SAID},
            "unit: 'GFLOPS' is not one of TFLOPS, TOPS",
        ),
        (Peak, {"value": 1, "unit": "TFLOPS", **SAID}, "dense: missing; true for a dense peak"),
        (Link, {"value": 1, "unit": "GB/s", **SAID}, "direction: missing; one-way, or two-way"),
        (Power, {"value": 1, "unit": "W", "confidence": "vendor"}, "source: missing; say where"),
        (Power, {"value": 1, "unit": "W", "source": "x"}, "confidence: a figure with a value needs one of"),
        (Power, {"confidence": "press", "source": "x"}, "confidence: 'press' without value"),
        (Power, {"low": 1, "unit": "W", **SAID}, "high: missing; a range needs low and high"),
        (Power, {"high": 1, "unit": "W", **SAID}, "low: missing; a range needs low and high"),
        (Power, {"low": 2, "high": 1, "unit": "W", **SAID}, "low: 2 is above high = 1"),
        (Power, {"value": 1, "low": 1, "high": 2, "unit": "W", **SAID}, "value: give a value or a range"),
        (Power, {"value": 0, "unit": "W", **SAID}, "value: not a positive number"),
        (Power, {"value": float("nan"), "unit": "W", **SAID}, "value: not a positive number"),
        (Power, {"low": 1, "high": float("inf"), "unit": "W", **SAID}, "value: not a positive number"),
    ],
)
def test_refused(kind: type[Figure], keys, message):
    with pytest.raises(ValueError, match=message):
        kind(**keys)
