"""The short patch that circulates: `torch.cuda` is the vendor's module. Usage: python rename.py SCRIPT."""

import runpy
import sys

import torch
import torch._dynamo  # it looks into torch.cuda when it is imported: before the patch, so that it finds its own

vendor = torch.get_device_module()
name = torch.accelerator.current_accelerator().type
torch.cuda = vendor
torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, device=None, **options: self.to(device or name, **options)
torch.Tensor.is_cuda = property(lambda self: self.device.type == name)

sys.path.insert(0, "")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
