"""Weights take on a device what they take on the disk: of published checkpoints, and in every format of `convert`."""

from pathlib import Path

import pytest
from msgspec.structs import replace

import xinqiao.convert as converts
from tests.convert.models import llama
from xinqiao.chips import catalog
from xinqiao.size import catalogue
from xinqiao.size.choose import Named, formats
from xinqiao.size.memory import Inference, memory
from xinqiao.size.plan import Formats, Plan

NOTHING = Inference(0, 1, 1)


@pytest.mark.parametrize(
    ("model", "published"),  # bytes of the safetensors files, as the publisher's index or repository states them
    [
        ("llama-3-70b", 141_107_412_992),
        ("llama-3.1-70b", 141_107_412_992),
        ("mixtral-8x7b", 93_405_585_408),
        ("deepseek-v3", 688_586_727_753),
        ("deepseek-v3.1", 688_586_727_753),
    ],
)
def test_a_published_checkpoint(model, published):
    found = catalogue.load(model)
    stored, _ = formats(found, catalog.load("h200"), Named())
    extra = 0.0
    if found.mtp_layers:  # in 8 bits, with an embedding and a head of its own that stay in 16
        extra = found.parameters("mtp") + 2 * 2 * found.vocab * found.hidden
    assert memory(found, Plan(), stored, NOTHING).weights + extra == pytest.approx(published, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "form"),
    [
        ("bf16", "bf16"),
        ("fp16", "fp16"),
        ("fp8-block", "fp8"),
        ("fp8-ue8m0", "fp8"),
        ("mxfp8", "mxfp8"),
        ("mxfp4", "mxfp4"),
        ("int8-channel", "int8"),
        ("int8-block", "int8"),
        ("hif8", "fp8"),
    ],
)
def test_every_format_of_convert(tmp_path, layout, form):
    source = llama(tmp_path / "source", layers=3, hidden=1024, middle=3072)
    converts.convert(source, converts.Request(layout=layout), tmp_path / "out")
    found = catalogue.find(str(source))
    written = sum(file.stat().st_size for file in Path(tmp_path / "out").glob("*.safetensors"))
    expected = memory(found, Plan(), replace(Formats(), weights=form), NOTHING).weights
    assert expected == pytest.approx(written, rel=0.03)
