"""Environment variables of CUDA and NCCL, and what the vendor calls them."""

import re
from typing import Literal, NamedTuple

from xinqiao.chips.spec import Chip

VARIABLE = re.compile(
    r"(CUDA|CUDNN|CUBLAS|CUFFT|NCCL|NVIDIA|TORCH_NCCL|TORCH_CUDA|TORCH_CUDNN|PYTORCH_CUDA|PYTORCH_NO_CUDA|PYTORCH_NVML)"
    r"_[A-Z][A-Z0-9_]*"
)
_ACCOUNT = re.compile(r"NVIDIA_\w*(API_KEY|TOKEN|BASE_URL)")
VISIBLE = "CUDA_VISIBLE_DEVICES"
_LEFT = "only CUDA reads it, and nothing changes elsewhere where it is set"
_HARMLESS = {  # that tune or debug CUDA and its libraries
    "CUDA_CACHE_DISABLE": _LEFT,
    "CUDA_CACHE_MAXSIZE": _LEFT,
    "CUDA_CACHE_PATH": _LEFT,
    "CUDA_DEVICE_MAX_CONNECTIONS": _LEFT,
    "CUDA_DEVICE_ORDER": f"{_LEFT}; other devices have one order",
    "CUDA_LAUNCH_BLOCKING": f"{_LEFT}; it is for debugging",
    "CUDA_MODULE_LOADING": _LEFT,
    "CUBLAS_WORKSPACE_CONFIG": f"{_LEFT}; torch.use_deterministic_algorithms(True) asks every device",
    "NCCL_DEBUG": f"{_LEFT}; it is for debugging",
    "NCCL_DEBUG_FILE": f"{_LEFT}; it is for debugging",
    "NCCL_DEBUG_SUBSYS": f"{_LEFT}; it is for debugging",
    "NVIDIA_TF32_OVERRIDE": f"{_LEFT}; whether the chip rounds fp32 products is its own setting",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": f"{_LEFT}; it is for debugging",
    "PYTORCH_NVML_BASED_CUDA_CHECK": _LEFT,
    "TORCH_CUDNN_V8_API_DISABLED": _LEFT,
    "TORCH_CUDNN_V8_API_ENABLED": _LEFT,
}
_BUILD = "it is for building CUDA sources: the kernels need a version for the chip, or one in PyTorch"
_STEPS = {
    "CUDA_HOME": _BUILD,
    "CUDA_PATH": _BUILD,
    "CUDA_ROOT": _BUILD,
    "CUDA_TOOLKIT_ROOT_DIR": _BUILD,
    "TORCH_CUDA_ARCH_LIST": _BUILD,
}


class Counterpart(NamedTuple):
    """name: the vendor's variable, '' where there is none to set; verdict: 'safe' where nothing is to be done."""

    name: str
    verdict: Literal["rewritten", "safe", "needs-you"]
    reason: str


def counterpart(variable: str, chip: Chip) -> Counterpart:
    """What stands for a variable of CUDA's on a chip."""
    platform, title = chip.platform, chip.title
    name = platform.visible_devices if variable == VISIBLE else platform.environment.get(variable)
    if platform.native or name == variable:
        return Counterpart("", "safe", f"{title} reads it")
    if name:
        return Counterpart(name, "rewritten", f"{title} reads {name}")
    if _ACCOUNT.fullmatch(variable):
        return Counterpart("", "safe", "it is for a service, which is asked from any machine")
    if name == "" and variable != VISIBLE:
        return Counterpart("", "safe", f"{title} needs no such variable")
    if variable in _HARMLESS:
        return Counterpart("", "safe", _HARMLESS[variable])
    step = _STEPS.get(variable, "find the vendor's, or leave it where harmless")
    return Counterpart("", "needs-you", f"{variable}: it is not known what {title} reads instead; {step}")
