"""Declares torchvision's operators.

Its wheel is compiled against the CUDA build of PyTorch and cannot register them under the CPU build, on plain CPU as
little as on a virtual chip; the packages import it but call none of these.
"""

import torch

NAMES = (
    "nms", "deform_conv2d", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "qnms", "_roi_align_backward",
    "_roi_pool_backward", "_ps_roi_align_backward", "_ps_roi_pool_backward", "_deform_conv2d_backward",
)  # fmt: skip

library = torch.library.Library("torchvision", "DEF")
for name in NAMES:
    library.define(f"{name}(Tensor a) -> Tensor")
