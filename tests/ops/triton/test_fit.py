"""Which tiles are chosen, against what the vendor's compiler said of tiles."""

import pytest
import torch

from xinqiao.chips import catalog
from xinqiao.errors import InputError

fit = pytest.importorskip("xinqiao.ops.triton.fit")
pytestmark = pytest.mark.triton

UB, CC = "ub", "cc"  # the vector units' buffer, and that of sums of products
# bishengir-compile 1.2.0 of ascendnpu-ir: tiles that it refused, and the bits that it said they need.
REFUSED = {
    "ascend-910b": [  # kernel, (rows, keys), (d_k, d_v), memory, bits
        ("attend", (128, 64), (128, 128), UB, 2256896),
        ("attend", (128, 64), (192, 128), UB, 2387968),
        ("attend", (128, 128), (64, 64), UB, 2912256),
        ("attend", (64, 256), (64, 64), UB, 2510848),
        ("attend", (64, 256), (128, 128), UB, 2380288),
        ("attend", (32, 16), (576, 512), UB, 1725952),
        ("attend", (32, 32), (576, 512), UB, 2137088),
        ("attend", (64, 16), (576, 512), UB, 3303936),
        ("attend", (64, 32), (576, 512), UB, 3451904),
        ("attend", (16, 64), (576, 512), UB, 2432512),
        ("attend_back", (128, 64), (64, 64), UB, 1995264),
        ("attend_back", (64, 128), (64, 64), UB, 1915392),
        ("attend_back", (64, 128), (192, 128), UB, 2177536),
        ("attend_back", (64, 256), (128, 128), UB, 3815936),
        ("attend_back", (16, 256), (64, 64), CC, 1179648),
        ("attend_back", (16, 128), (128, 128), CC, 1114112),
        ("attend_back", (16, 128), (192, 128), CC, 1376256),
        ("attend_back_added", (16, 64), (576, 512), UB, 2185984),
        ("attend_back_added", (64, 16), (576, 512), CC, 1441792),
        ("attend_back_added", (64, 32), (576, 512), CC, 1703936),
        ("scores", (64, 64), (128, 0), UB, 4325376),
    ],
    "ascend-910c": [
        ("attend", (128, 128), (128, 128), UB, 3174912),
        ("attend_back", (128, 128), (128, 128), UB, 3961344),
        ("attend_back", (16, 256), (128, 128), CC, 2228224),
    ],
    "ascend-950dt": [
        ("attend", (128, 128), (128, 128), UB, 2383872),
        ("attend_back", (16, 256), (128, 128), CC, 2359296),
    ],
    "ascend-950pr": [
        ("attend", (64, 16), (576, 512), UB, 3452416),
        ("attend", (64, 32), (576, 512), UB, 3744768),
        ("attend_back_added", (16, 32), (576, 512), UB, 2228224),
        ("attend_back_added", (64, 32), (576, 512), CC, 2228224),
    ],
}


@pytest.mark.parametrize("chip", REFUSED)
def test_what_the_compiler_refused_is_not_chosen(chip):
    memory = fit.memory_of(catalog.load(chip))
    for kernel, tile, sizes, kind, bits in REFUSED[chip]:
        there = memory.buffer if kind == UB else memory.products
        assert bits > 8 * there, "the chip's file disagrees with the compiler"
        if kind == UB:
            need = fit.buffer_bytes(kernel, tile, sizes, torch.float16)
        else:
            need = fit.product_bytes(kernel, tile, sizes)
        assert need > there, (kernel, tile, sizes)


CHOSEN = [  # chip, d_k and d_v, the tile of a group of 16 with chosen blocks, that of a window
    ("ascend-910b", (64, 64), (16, 64), (64, 64)),
    ("ascend-910b", (192, 128), (16, 64), (64, 64)),
    ("ascend-950pr", (192, 128), (16, 64), (64, 64)),
    ("nvidia-h100", (192, 128), (16, 64), (64, 64)),
    ("amd-mi300x", (192, 128), (16, 64), (64, 64)),
]


@pytest.mark.parametrize("chip, sizes, chosen, window", CHOSEN)
def test_the_largest_tile_that_fits_is_chosen(chip, sizes, chosen, window):
    device = torch.device("meta")
    with fit.chip(chip):
        assert fit.attention("attend", 16, sizes, torch.float16, device, chosen=True) == chosen
        assert fit.attention("attend", 16, sizes, torch.float16, device, chosen=False) == window


def test_a_kernel_that_cannot_fit_says_so_before_it_is_run():
    with fit.chip("ascend-910b"), pytest.raises(InputError, match=r"need .* of 196608, .* more than ascend-910b has"):
        fit.attention("attend", 32, (2048, 2048), torch.float32, torch.device("meta"), chosen=True)


def test_on_the_processor_nothing_limits_a_tile():
    assert fit.attention("attend", 16, (2048, 2048), torch.float32, torch.device("cpu"), chosen=True) == (16, 32)


def test_gradients_of_latents_do_not_fit_every_core_in_fp32():
    sizes, device = (576, 512), torch.device("meta")
    with fit.chip("ascend-910b"):
        assert fit.latent("attend_back_added", 128, sizes, torch.bfloat16, device) == (16, 16)
        with pytest.raises(InputError, match="16 rows and 16 keys of 576 and 512 float32"):
            fit.latent("attend_back_added", 128, sizes, torch.float32, device)
