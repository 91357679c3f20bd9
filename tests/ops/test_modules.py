"""Fp8Linear and Int8Linear: their state dicts, how they are made, when they go past PyTorch's dispatcher."""

import copy
import io

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.ops import eight_bits
from xinqiao.convert.layouts import LAYOUTS
from xinqiao.errors import InputError
from xinqiao.ops.linear import linear_block_fp8, linear_int8
from xinqiao.ops.modules import Fp8Linear, Int8Linear

FP8 = {  # layout that `xinqiao convert` writes → arguments
    "fp8-block": {},
    "fp8-ue8m0": {},
    "fp8-ue8m0-v4": {"scale_dtype": torch.float8_e8m0fnu},
    "mxfp8": {"block": (1, 32), "scale_dtype": torch.uint8},
}
DTYPES = {"F8_E4M3": torch.float8_e4m3fn, "F32": torch.float32, "F8_E8M0": torch.float8_e8m0fnu, "U8": torch.uint8}
DTYPES["I8"] = torch.int8


def layer(name="fp8-ue8m0", n=136, k=200, bias=False, dtype=torch.bfloat16):
    torch.manual_seed(0)
    linear = torch.nn.Linear(k, n, bias=bias, dtype=dtype)
    made = Int8Linear.from_linear(linear) if name == "int8-channel" else Fp8Linear.from_linear(linear, **FP8[name])
    return linear, made


LAYERS = [*FP8, "int8-channel"]


@pytest.mark.parametrize("name", LAYERS)
def test_the_state_dict_is_the_checkpoint_s(name):
    layout = LAYOUTS[name]
    _, made = layer(name)
    kept = made.state_dict()
    codes, scales = (n.rpartition(".")[2] for n in layout.names("m.weight"))
    assert {k: v.dtype for k, v in kept.items()} == {
        codes: DTYPES[layout.codes_dtype],
        scales: DTYPES[layout.scale_dtype],
    }
    other = Int8Linear(200, 136, bias=False) if name == "int8-channel" else Fp8Linear(200, 136, bias=False, **FP8[name])
    other.load_state_dict(kept)
    x = eight_bits.tokens((2, 200), torch.bfloat16)
    assert torch.equal(other(x), made(x))


@pytest.mark.parametrize(("name", "error"), [*((n, 2.0**-4) for n in FP8), ("int8-channel", 1 / 254)])
@pytest.mark.parametrize("bias", [True, False])
def test_from_linear(name, error, bias):
    """An e4m3 of a block is within 2^-4 of its value, or 2^-10 of the block's largest; an int8 within 1/254 of that."""
    linear, made = layer(name, bias=bias, dtype=torch.float32)
    one = made(torch.eye(200)) - (linear.bias if bias else 0)
    largest = linear.weight.detach().abs().max()
    far = torch.maximum(linear.weight.T.abs() * error, largest * max(2.0**-9, error * (name == "int8-channel")))
    assert ((one - linear.weight.T).abs() <= far * 1.02).all()
    assert (made.bias is linear.bias) if bias else made.bias is None


@pytest.mark.parametrize("name", LAYERS)
def test_conversions_of_the_model_leave_codes_and_scales(name):
    _, made = layer(name, bias=True)
    before = {n: (b.dtype, b.view(torch.uint8).clone()) for n, b in made.named_buffers()}
    made.to(torch.float16).double().bfloat16()
    assert made.bias.dtype == torch.bfloat16
    assert all(
        b.dtype == before[n][0] and torch.equal(b.view(torch.uint8), before[n][1]) for n, b in made.named_buffers()
    )
    assert made.to("meta").weight.device.type == "meta"


@pytest.mark.parametrize("name", LAYERS)
def test_copies_and_files(name):
    _, made = layer(name)
    x = eight_bits.tokens((2, 200), torch.bfloat16)
    true = made(x)
    file = io.BytesIO()
    torch.save(made, file)
    file.seek(0)
    for other in (copy.deepcopy(made), torch.load(file, weights_only=False)):
        assert torch.equal(other(x), true)


def called(made, x):
    """The operator that the dispatcher is given."""
    names = []

    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            names.append(function.name())
            return function(*arguments, **(options or {}))

    with Mode():
        made(x)
    return [n for n in names if n.startswith("xinqiao::")]


@pytest.mark.parametrize("name", LAYERS)
def test_who_watches_sees_the_operator(name):
    _, made = layer(name)
    x = eight_bits.tokens((2, 200), torch.bfloat16)
    operator = "xinqiao::linear_int8" if name == "int8-channel" else "xinqiao::linear_block_fp8"
    assert called(made, x) == [operator]

    class Mode(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):
            return torch.zeros(1) if "xinqiao" in str(function) else function(*arguments, **(options or {}))

    with Mode():
        assert torch.equal(made(x), torch.zeros(1))


@pytest.mark.parametrize("name", LAYERS)
def test_both_ways_give_the_same(name):
    _, made = layer(name, bias=True)
    for count in (1, 8, 40):
        x = eight_bits.tokens((count, 200), torch.bfloat16)
        with torch.no_grad():
            quick = made(x)
        if name == "int8-channel":
            slow = linear_int8(x, made.weight, made.weight_scale.view(-1), made.bias)
        else:
            slow = linear_block_fp8(x, made.weight, getattr(made, made.scale_name), made.bias, block=made.block)
        assert torch.equal(quick, slow)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_reach_the_input(name):
    _, made = layer(name)
    x = eight_bits.tokens((2, 200), torch.float32).requires_grad_()
    made(x).sum().backward()
    assert x.grad.abs().sum() > 0
    with torch.no_grad():
        assert not made(x).requires_grad


@pytest.mark.parametrize("name", LAYERS)
def test_compiled(name):
    _, made = layer(name)
    x = eight_bits.tokens((2, 200), torch.bfloat16)
    true = made(x)
    assert torch.equal(torch.compile(made, fullgraph=True, backend="aot_eager")(x), true)
    assert torch.equal(torch.export.export(made, (x,)).module()(x), true)


@pytest.mark.parametrize("name", LAYERS)
def test_wrong_shapes_are_errors(name):
    _, made = layer(name)
    with pytest.raises(InputError, match=r"weight has shape \[136, 200\], expected \[n, k\] with n = 136"):
        made(torch.zeros(2, 100))


def test_scales_that_no_checkpoint_has():
    with pytest.raises(InputError, match=r"Fp8Linear: no scales torch.uint8 of \(128, 128\); there are "):
        Fp8Linear(8, 8, scale_dtype=torch.uint8)
