"""What a vendor calls the things around PyTorch, as data that chips share."""

import pytest
import torch

from xinqiao.chips import catalog
from xinqiao.chips.read import FOLDER, PLATFORMS

CHIPS = sorted(f.stem for f in FOLDER.glob("*.toml"))
FILES = sorted(f.stem for f in PLATFORMS.glob("*.toml"))
OF_CUDA = ("CUDA", "NCCL", "CUDNN", "CUBLAS", "NVIDIA")


def chips_of(name):
    return [
        c
        for c in map(catalog.load, CHIPS)
        if f'platform = "{name}"' in (FOLDER / f"{c.base or c.name}.toml").read_text()
    ]


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_has_a_platform_with_a_source(name):
    assert catalog.load(name).platform.source


@pytest.mark.parametrize("name", FILES)
def test_every_platform_belongs_to_chips_of_one_device(name):
    assert len({c.torch.device for c in chips_of(name)}) == 1


@pytest.mark.parametrize("name", CHIPS)
def test_names_on_the_left_are_pytorchs(name):
    platform = catalog.load(name).platform
    assert set(platform.module) <= set(dir(torch.cuda))
    for key in platform.functions:
        here = torch
        for part in key.split(".")[1:]:
            here = getattr(here, part)
    assert all(any(word in key for word in OF_CUDA) for key in platform.environment)


@pytest.mark.parametrize("name", CHIPS)
def test_names_on_the_right_are_the_vendors(name):
    chip = catalog.load(name)
    starts = (f"torch.{chip.torch.device}.", f"{chip.torch.package}.", "torch.backends.", "torch.profiler.")
    assert all(value.startswith(starts) for value in chip.platform.functions.values())
    assert not any(value.startswith("torch.cuda.") for value in chip.platform.functions.values())


@pytest.mark.parametrize(
    ("chip", "variable", "monitor"),
    [
        ("ascend-910c", "ASCEND_RT_VISIBLE_DEVICES", "npu-smi info"),
        ("ascend-910b3", "ASCEND_RT_VISIBLE_DEVICES", "npu-smi info"),
        ("cambricon-mlu590", "MLU_VISIBLE_DEVICES", "cnmon"),
        ("moore-threads-s5000", "MUSA_VISIBLE_DEVICES", "mthreads-gmi"),
        ("enflame-s60", "TOPS_VISIBLE_DEVICES", ""),
        ("hygon-bw1000", "HIP_VISIBLE_DEVICES", "hy-smi"),
        ("kunlun-p800", "XPU_VISIBLE_DEVICES", "xpu-smi"),
        ("metax-c500", "CUDA_VISIBLE_DEVICES", "mx-smi"),
        ("nvidia-h20", "CUDA_VISIBLE_DEVICES", "nvidia-smi"),
    ],
)
def test_variables_and_monitors(chip, variable, monitor):
    platform = catalog.load(chip).platform
    assert (platform.visible_devices, platform.monitor) == (variable, monitor)
