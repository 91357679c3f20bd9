"""A transfer at run time in the vendors' style, written from what theirs is documented to do; none of their code.

`torch.cuda` becomes the vendor's module, and a list of functions and methods of PyTorch take the vendor's device where
'cuda' is given: by position or as `device`, `device_type` or `map_location`. `torch.device` itself is a type and stays.
Usage: python transfer.py SCRIPT.
"""

import functools
import runpy
import sys

import torch
import torch._dynamo  # it looks into torch.cuda when it is imported: before the patch, so that it finds its own
import torch.distributed as dist

VENDOR = torch.accelerator.current_accelerator().type
KEYWORDS = ("device", "device_type", "map_location", "device_id")
FUNCTIONS = (
    "arange", "as_tensor", "empty", "empty_like", "eye", "full", "full_like", "linspace", "load",
    "logspace", "ones", "ones_like", "rand", "rand_like", "randint", "randn", "randn_like", "randperm", "scalar_tensor",
    "set_default_device", "tensor", "zeros", "zeros_like",
)  # fmt: skip
METHODS = ("to", "new_empty", "new_full", "new_ones", "new_tensor", "new_zeros")


def other(value):
    """The vendor's device instead of CUDA's; anything else unchanged."""
    if isinstance(value, torch.device):
        return torch.device(VENDOR, value.index) if value.type == "cuda" else value
    return value.replace("cuda", VENDOR) if isinstance(value, str) and value.startswith("cuda") else value


def wrapped(function):
    @functools.wraps(function, updated=())
    def call(*arguments, **options):
        options = {k: other(v) if k in KEYWORDS else v for k, v in options.items()}
        return function(*map(other, arguments), **options)

    return call


def cuda(self, device=None, non_blocking=False):
    return self.to(VENDOR if device is None else other(device), non_blocking=non_blocking)


def module_cuda(self, device=None):
    return self.to(VENDOR if device is None else other(device))


def init_process_group(backend=None, *arguments, **options):
    return start_group("hccl" if backend == "nccl" else backend, *arguments, **options)


start_group = dist.init_process_group
dist.init_process_group = init_process_group
torch.cuda = torch.get_device_module(VENDOR)
torch.Tensor.cuda, torch.nn.Module.cuda = cuda, module_cuda
torch.Tensor.is_cuda = property(lambda self: self.device.type == VENDOR)
torch.nn.Module.to = wrapped(torch.nn.Module.to)
torch.autocast.__init__ = wrapped(torch.autocast.__init__)
for name in METHODS:
    setattr(torch.Tensor, name, wrapped(getattr(torch.Tensor, name)))
for name in FUNCTIONS:
    setattr(torch, name, wrapped(getattr(torch, name)))

sys.path.insert(0, "")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
