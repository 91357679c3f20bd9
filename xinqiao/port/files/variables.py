"""Environment variables of CUDA and NCCL, and the vendor's counterparts."""

import re

from xinqiao.port.files.advice import SAME_DEVICE, Advice, needs_you, safe
from xinqiao.port.files.known import known, look_up
from xinqiao.port.target import Target

ON_A_PATH = safe("a folder that is not there does no harm in a list of folders")
VISIBLE = "CUDA_VISIBLE_DEVICES"
_CUDAS = re.compile(
    r"(CUDA|NCCL|NVIDIA|NVTE|CUBLAS|CUDNN|TRITON|TORCH_CUDA|TORCH_NCCL|PYTORCH_CUDA|NVCC)_[A-Z0-9_]+|NVCC"
)


def is_cudas(name: str) -> bool:
    """Whether CUDA, NCCL or PyTorch for CUDA reads an environment variable of this name."""
    return bool(_CUDAS.fullmatch(name))


def is_path(name: str) -> bool:
    """Whether a variable is a list of folders to look in."""
    return name.endswith("PATH") and not is_cudas(name)


def counterpart(name: str, target: Target) -> str | None:
    """The vendor's variable of the same meaning; '' where the vendor needs none, None where that is not known."""
    platform = target.chip.platform
    if name == VISIBLE:
        return platform.visible_devices or None
    return platform.environment.get(name)


def advice(name: str, target: Target) -> Advice:
    """What becomes of a place that sets the variable; `text` is the vendor's variable."""
    if target.audit:
        return SAME_DEVICE
    vendors = counterpart(name, target)
    if vendors:
        where = "instead of it" if target.style == "vendor" else "beside it"
        return Advice("rewritten", f"this chip's software reads {vendors}: it is set {where}", vendors)
    if vendors == "":
        return safe("this chip's software needs no such variable")
    if name == VISIBLE:
        return needs_you("each vendor has its own variable for visible devices: set this chip's one too")
    if reason := look_up(name, known().harmless):
        return safe(f"{reason}; it does no harm here")
    step = look_up(name, known().next) or "find this chip's counterpart, or leave it out where nothing reads it"
    return needs_you(f"only CUDA's software reads {name}: {step}")


def read_advice(name: str, target: Target) -> Advice:
    """What becomes of a place that reads the variable; `text` is the vendor's variable."""
    found = advice(name, target)
    if found.verdict == "rewritten":
        return Advice("rewritten", f"{found.text} is read where {name} is not set", found.text)
    return found
