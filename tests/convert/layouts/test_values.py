"""Every way of writing a weight, put into bf16, against plain PyTorch."""

import pytest
import torch
from safetensors.torch import load_file

from tests.convert.models import E4M3, normal, save, spread_over
from xinqiao.convert import Request, convert, verify

NAME = "model.layers.0.mlp.up_proj"


def fp8(*shape, scale):
    return (normal(*shape) / scale).to(E4M3)


def per_tensor(shape):
    scale = torch.tensor(0.003)
    return fp8(192, 256, scale=scale), scale.reshape(shape), scale


def per_channel(dtype, shape):
    scale = (torch.rand(192) * 0.01 + 0.001).to(dtype)
    return fp8(192, 256, scale=scale.float()[:, None]), scale.reshape(shape), scale.float()[:, None]


def packed_int32():
    exponents = torch.randint(118, 124, (64, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scale = spread_over(torch.exp2(exponents.float() - 127), (64, 512), 1)
    return fp8(64, 512, scale=scale), exponents.view(torch.int32), scale


def stack(shape, spread):
    scale = torch.rand(shape) * 0.01 + 0.001
    return fp8(4, 256, 256, scale=spread(scale)), scale, spread(scale)


def blocks(scale):
    return scale.repeat_interleave(128, 1).repeat_interleave(128, 2)


WAYS = {  # codes, scales as stored, what each code is multiplied with
    "one scale": per_tensor(()),
    "one scale in a list": per_tensor((1,)),
    "a scale a row, BF16": per_channel(torch.bfloat16, (192, 1)),
    "a scale a row, F16, in a list": per_channel(torch.float16, (192,)),
    "four scales in an int32": packed_int32(),
    "experts, blocks": stack((4, 2, 2), blocks),
    "experts, a scale each": stack((4,), lambda scale: scale[:, None, None]),
    "experts, a scale a row": stack((4, 256), lambda scale: scale[..., None]),
}


@pytest.mark.parametrize("way", WAYS)
def test_values(way, tmp_path):
    codes, stored, scale = WAYS[way]
    source = save(tmp_path / "source", {f"{NAME}.weight": codes, f"{NAME}.weight_scale": stored}, {"model_type": "x"})
    convert(source, Request(layout="bf16"), tmp_path / "out")
    (found,) = load_file(tmp_path / "out" / "model.safetensors").values()
    assert torch.equal(found, (codes.float() * scale).bfloat16())
    assert not verify(tmp_path / "out", source).findings


def test_experts_in_one_parameter_keep_its_name(tmp_path):
    codes, stored, scale = WAYS["experts, blocks"]
    name = "model.layers.0.mlp.experts.up_proj"
    source = save(tmp_path / "source", {name: codes, f"{name}_scale_inv": stored}, {"model_type": "x"})
    convert(source, Request(layout="bf16"), tmp_path / "out")
    assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")[name], (codes.float() * scale).bfloat16())
    convert(source, Request(layout="fp8-ue8m0"), tmp_path / "again")
    assert load_file(tmp_path / "again" / "model.safetensors").keys() == {name, f"{name}_scale_inv"}
