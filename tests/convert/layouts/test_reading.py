"""How tensors become weights: every way of writing that is read, and what is refused instead of guessed."""

from math import prod
from pathlib import Path

import pytest

from xinqiao.convert.layouts import LAYOUTS
from xinqiao.convert.layouts.reading import Weight, pair
from xinqiao.convert.plan import outputs
from xinqiao.convert.source import Entry
from xinqiao.errors import InputError

BITS = {"F32": 32, "I32": 32, "BF16": 16, "F16": 16, "F4": 4}


def entries(tensors, file=Path("nowhere")):
    rows = [
        Entry(name, dtype, shape, file, 0, prod(shape) * BITS.get(dtype, 8) // 8)
        for name, (dtype, shape) in tensors.items()
    ]
    return {row.name: row for row in rows}


def config(block=None, group=None):
    if group:
        return {"quantization_config": {"config_groups": {"group_0": {"weights": {"group_size": group}}}}}
    return {"quantization_config": {"weight_block_size": block}} if block else {}


READ = [  # codes, scale, config → element, shape, encoding, block
    # DeepSeek-V3 and V3.1; ragged last blocks
    (("m.weight", "F8_E4M3", (256, 512)), ("m.weight_scale_inv", "F32", (2, 4)), {}, "e4m3fn", "f32", (128, 128)),
    (("m.weight", "F8_E4M3", (576, 200)), ("m.weight_scale_inv", "F32", (5, 2)), {}, "e4m3fn", "f32", (128, 128)),
    # DeepSeek-V4
    (("m.weight", "F8_E4M3", (256, 512)), ("m.scale", "F8_E8M0", (2, 4)), {}, "e4m3fn", "e8m0", (128, 128)),
    (("m.weight", "I8", (64, 256)), ("m.scale", "F8_E8M0", (64, 16)), {}, "e2m1", "e8m0", (1, 32)),
    # compressed-tensors
    (("m.weight", "F8_E4M3", (256, 512)), ("m.weight_scale", "BF16", (2, 4)), {}, "e4m3fn", "bf16", (128, 128)),
    (("m.weight", "F8_E4M3", (256, 512)), ("m.weight_scale", "F32", (256, 1)), {}, "e4m3fn", "f32", (1, 0)),
    (("m.weight", "F8_E4M3", (256, 512)), ("m.weight_scale", "F16", ()), {}, "e4m3fn", "f16", (0, 0)),
    (("m.weight", "F8_E4M3", (256, 512)), ("m.weight_scale", "F32", (1,)), {}, "e4m3fn", "f32", (0, 0)),
    (("m.weight", "F8_E4M3", (256, 512)), ("m.weight_scale", "U8", (256, 16)), {}, "e4m3fn", "e8m0", (1, 32)),
    (("m.weight_packed", "U8", (256, 256)), ("m.weight_scale", "U8", (256, 16)), {}, "e2m1", "e8m0", (1, 32)),
    (("m.weight", "I8", (256, 512)), ("m.weight_scale", "F32", (256, 1)), {}, "int8", "f32", (1, 0)),
    (("m.weight", "I8", (256, 512)), ("m.weight_scale", "BF16", (256,)), {}, "int8", "bf16", (1, 0)),
    (("m.weight", "I8", (256, 512)), ("m.weight_scale", "F32", (256, 8)), config(group=64), "int8", "f32", (1, 64)),
    # others
    (("m.weight", "F8_E5M2", (256, 512)), ("m.weight_scale", "F32", (256, 4)), {}, "e5m2", "f32", (1, 128)),
    (("m.weight", "U8", (256, 256)), ("m.weight_scale", "U8", (256, 16)), {}, "e2m1", "e8m0", (1, 32)),
    (("m.weight", "F4", (256, 512)), ("m.weight_scale", "F8_E8M0", (256, 16)), {}, "e2m1", "e8m0", (1, 32)),
    (("m.weight", "I8", (256, 512)), ("m.weight_scale_inv", "F32", (2, 4)), {}, "int8", "f32", (128, 128)),
    (("m.weight", "I8", (256, 512)), ("m.weight_scale", "F8_E8M0", (256, 16)), {}, "int8", "e8m0", (1, 32)),
    # four scales in an int32
    (("m.weight", "F8_E4M3", (256, 512)), ("m.weight_scale", "I32", (256, 4)), {}, "e4m3fn", "int32", (1, 32)),
    (("m.weight", "F8_E4M3", (256, 512)), ("m.weight_scale", "I32", (256, 1)), {}, "e4m3fn", "int32", (1, 128)),
    # experts in one tensor
    (("m.weight", "F8_E4M3", (8, 256, 512)), ("m.weight_scale_inv", "F32", (8, 2, 4)), {}, "e4m3fn", "f32", (128, 128)),
    (("m.weight", "I8", (8, 256, 512)), ("m.weight_scale", "F32", (8, 256)), {}, "int8", "f32", (1, 0)),
    (("m.weight", "F8_E4M3", (8, 256, 512)), ("m.weight_scale", "F32", (8,)), {}, "e4m3fn", "f32", (0, 0)),
    (("x.up", "F8_E4M3", (8, 256, 512)), ("x.up_scale_inv", "F32", (8, 2, 4)), {}, "e4m3fn", "f32", (128, 128)),
    # the configuration decides between blocks of one shape
    (
        ("m.weight", "F8_E4M3", (192, 192)),
        ("m.weight_scale_inv", "F32", (2, 2)),
        config([96, 96]),
        "e4m3fn",
        "f32",
        (96, 96),
    ),
    # blocks larger than the matrix are one
    (("m.weight", "F8_E4M3", (64, 64)), ("m.weight_scale_inv", "F32", (1, 1)), {}, "e4m3fn", "f32", (128, 128)),
]


@pytest.mark.parametrize(("codes", "scale", "config", "element", "encoding", "block"), READ)
def test_read(codes, scale, config, element, encoding, block):
    name, dtype, shape = codes
    (weight,) = pair(entries({name: (dtype, shape), scale[0]: scale[1:]}), config)
    columns = shape[-1] * (2 if element == "e2m1" and dtype != "F4" else 1)
    assert (weight.element, weight.scale_encoding, weight.block) == (element, encoding, block)
    assert weight.shape == (*shape[:-1], columns)
    assert weight.name == name.removesuffix("_packed")
    assert (weight.codes.name, weight.scales.name) == (name, scale[0])


E4M3 = ("F8_E4M3", (256, 512))
REFUSED = [  # tensors → words of the refusal, which names the tensor
    ({"m.weight": E4M3}, "m.weight: F8_E4M3 without a scale"),
    ({"m.weight": ("I8", (8, 8))}, "m.weight: I8 without a scale"),
    ({"m.weight": ("U8", (8, 8))}, "m.weight: U8 without a scale"),
    ({"m.weight_scale_inv": ("F32", (2, 4))}, "m.weight_scale_inv: a scale whose weight is missing"),
    ({"m.scale": ("F8_E8M0", (2, 4))}, "m.scale: a scale whose weight is missing"),
    (
        {"m.weight": ("BF16", (256, 512)), "m.weight_scale": ("F32", (2, 4))},
        "m.weight_scale: a scale whose weight is not quantised",
    ),
    ({"m.weight": E4M3, "m.scale": ("F32", (2, 4)), "m.weight_scale": ("F32", (2, 4))}, "m.weight: has two scales"),
    ({"m.weight": E4M3, "m.weight_scale_inv": ("F32", (4, 2))}, "m.weight: F8_E4M3 [256, 512] with m.weight_scale_inv"),
    ({"m.weight": E4M3, "m.weight_scale_inv": ("F32", (3, 4))}, "fits no block"),
    ({"m.weight": E4M3, "m.weight_scale_inv": ("F32", (2, 4, 1))}, "fits no block"),
    ({"m.weight": E4M3, "m.weight_scale_inv": ("I64", (2, 4))}, "m.weight_scale_inv: scales in I64 are not read"),
    ({"m.weight": E4M3, "m.weight_scale": ("F8_E4M3", (256, 32))}, "m.weight_scale: scales in F8_E4M3 are not read"),
    ({"m.weight": ("F8_E4M3", (8, 256, 512)), "m.weight_scale_inv": ("F32", (2, 4))}, "fits no block"),
    ({"m.weight": ("F8_E4M3", (8, 256, 512)), "m.weight_scale": ("F32", (1,))}, "fits no block"),
    ({"m.weight": ("F8_E4M3", (256,)), "m.weight_scale": ("F32", (1,))}, "is no matrix's"),
    ({"m.weight": ("F8_E4M3", (256, 128)), "m.weight_scale": ("I32", (256, 1))}, "blocks of 1x32 and 1x128"),
    ({"m.weight_packed": ("I32", (256, 64)), "m.weight_scale": ("F32", (256, 4))}, "integers packed in I32"),
    ({"m.qweight": ("I32", (64, 256)), "m.scales": ("F16", (4, 256))}, "m.qweight: GPTQ or AWQ"),
    ({"m.weight": ("U8", (8, 8)), "m.weight.absmax": ("F32", (4,))}, "m.weight.absmax: bitsandbytes"),
    (
        {"m.weight_packed": ("U8", (256, 256)), "m.weight_scale": E4M3, "m.weight_global_scale": ("F32", (1,))},
        "m.weight_global_scale: NVFP4",
    ),
    ({"experts.down_proj_blocks": ("U8", (4, 64, 2, 16))}, "experts.down_proj_blocks: MXFP4"),
]


@pytest.mark.parametrize(("tensors", "says"), REFUSED)
def test_refused(tensors, says):
    with pytest.raises(InputError) as caught:
        pair(entries(tensors), {})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {"m.weight": ("BF16", (8, 8)), "m.bias": ("F32", (8,))},
        {"norm.scale": ("BF16", (8,)), "norm.weight": ("BF16", (8,))},  # a vector that is called scale is itself
        {"gate.tid2eid": ("I64", (8, 8)), "mask": ("U8", (8, 8)), "b": ("BOOL", (8,))},
        {"m.input_scale": ("F32", ())},
    ],
)
def test_plain_tensors_stay_themselves(tensors):
    found = pair(entries(tensors), {})
    assert [weight.name for weight in found] == list(tensors)
    assert not any(weight.quantised for weight in found)


@pytest.mark.parametrize("ending", ["weight_offset", "weight_zero_point"])
@pytest.mark.parametrize("value", [0, 1])
def test_offsets_are_left_out_where_they_are_zero(ending, value, tmp_path):
    (tmp_path / "file").write_bytes(bytes(31) + bytes([value]))
    tensors = {"m.weight": ("I8", (32, 64)), "m.weight_scale": ("F32", (32, 1)), f"m.{ending}": ("I8", (32, 1))}
    found = entries(tensors, tmp_path / "file")
    if value:
        with pytest.raises(InputError, match=f"m.{ending}: is not zero"):
            pair(found, {})
    else:
        assert [weight.name for weight in pair(found, {})] == ["m.weight"]


@pytest.mark.parametrize("config", [{"weight_block_size": value} for value in ("x", [1], [0, 0], [-1, 2], [[], 1])])
def test_malformed_configurations_are_as_good_as_none(config):
    tensors = {"m.weight": E4M3, "m.weight_scale_inv": ("F32", (2, 4))}
    assert pair(entries(tensors), {"quantization_config": config})[0].block == (128, 128)


@pytest.mark.parametrize("shape", [(256, 512), (130, 96), (4, 256, 512), (1, 32), (3, 2)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_read(layout, shape):
    row = LAYOUTS[layout]
    source = Weight("m.weight", shape, "bf16", entries({"m.weight": ("BF16", shape)})["m.weight"])
    (weight,) = pair(entries({o.name: (o.dtype, o.shape) for o in outputs(source, row)}), {})
    assert (weight.name, weight.shape, weight.element) == ("m.weight", shape, row.element)
    assert weight.quantised == (row.scale is not None)
    if row.scale:
        cut = [
            (min(b[0] or shape[-2], shape[-2]), min(b[1] or shape[-1], shape[-1])) for b in (weight.block, row.block)
        ]
        assert cut[0] == cut[1]
