"""torch.cuda, name by name: each has a verdict on every kind of chip, and none falls through to the default."""

import types

import pytest
import torch

from tests.port.test_rules import ported
from xinqiao.port import cuda_names

NOT_ITS_OWN = {  # what dir(torch.cuda) shows and a program does not use from there
    "Any", "Callable", "DEVICE_REQUIREMENT", "Device", "NewType", "Optional", "PYTORCH_RELEASES_CODE_CC",
    "TYPE_CHECKING", "cast", "classproperty", "importlib", "lru_cache", "os", "platform", "threading", "torch",
    "traceback", "warnings",
}  # fmt: skip
PUBLIC = sorted(n for n in dir(torch.cuda) if not n.startswith("_") and n not in NOT_ITS_OWN)
SUBMODULES = [getattr(torch.cuda, n) for n in ("memory", "random")]


def verdict(name, chip="ascend-910c", **target):
    found = ported(f"import torch\nx = torch.cuda.{name}\n", chip=chip, **target).occurrences
    return found[0].verdict, found[0].reason


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_has_a_row(name):
    assert cuda_names.DEFAULT_STEP not in verdict(name)[1]


@pytest.mark.parametrize("module", SUBMODULES, ids=lambda m: m.__name__)
def test_submodules_have_no_names_of_their_own(module):
    names = {n for n in module.__all__ if not isinstance(getattr(module, n), types.ModuleType)}
    assert names <= set(PUBLIC) | {"CUDAPluggableAllocator"}


def test_rows_name_what_exists():
    rows = [*cuda_names.PORTABLE, *cuda_names.RENAMED, *cuda_names.COMMON, *cuda_names.ASK, *cuda_names.OTHER_RULES]
    gone = [n for n in rows if not hasattr(torch.cuda, n) and not hasattr(torch.cuda.memory, n)]
    assert gone == ["comm"]  # a module that import torch does not load
    for name in cuda_names.PORTABLE.values():
        module, _, part = name.rpartition(".")
        assert hasattr(torch.accelerator if module else torch, part)


@pytest.mark.parametrize(
    ("chip", "name", "expected", "why"),
    [
        ("ascend-910c", "utilization", "rewritten", "module"),
        ("moore-threads-s5000", "utilization", "needs-you", "no such name"),
        ("moore-threads-s5000", "init", "needs-you", "no such name"),
        ("cambricon-mlu590", "temperature", "rewritten", "module"),
        ("ascend-910c", "temperature", "needs-you", "no such name"),
        ("enflame-s60", "get_arch_list", "rewritten", "module"),
        ("biren-br166", "manual_seed", "rewritten", "module"),
        ("biren-br166", "graph_pool_handle", "needs-you", "no such name"),
        ("ascend-910c", "CUDAGraph", "needs-you", "torch.npu.NPUGraph"),
        ("moore-threads-s5000", "CUDAGraph", "needs-you", "torch.musa.MUSAGraph"),
        ("enflame-s60", "nvtx.mark", "needs-you", "torch.gcu.topstx.mark"),
        ("kunlun-p800", "synchronize", "safe", "'cuda'"),
        ("nvidia-h200", "jiterator", "safe", "has it"),
        ("nvidia-h200", "nvtx", "safe", "'cuda'"),
        ("hygon-bw1000", "gds", "needs-you", "no such name"),
    ],
)
def test_the_chips_module_decides(chip, name, expected, why):
    found, reason = verdict(name, chip)
    assert found == expected
    assert why in reason


@pytest.mark.parametrize(
    ("chip", "expected", "why"),
    [
        ("ascend-910c", "needs-you", "generations"),
        ("metax-c500", "safe", "(8, 0)"),
        ("kunlun-p800", "needs-you", "generations"),
        ("nvidia-h200", "safe", "has compute capability"),
    ],
)
def test_compute_capability_that_is_compared(chip, expected, why):
    found, reason = verdict("get_device_capability() >= (8, 0)", chip)
    assert (found, why in reason) == (expected, True)
