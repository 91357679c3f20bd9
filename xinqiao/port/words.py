"""What makes a place CUDA-bound, as words."""

import re

CUDA_ONLY_PACKAGES = {
    "apex": "torch.optim and torch.nn have the same layers",
    "bitsandbytes": "ask the vendor for its build, or use an optimizer of torch.optim",
    "cupy": "use torch or numpy",
    "deepspeed": "DeepSpeed has accelerator back ends: set DS_ACCELERATOR",
    "flash_attn": "torch.nn.functional.scaled_dot_product_attention computes the same",
    "flash_attn_interface": "torch.nn.functional.scaled_dot_product_attention computes the same",
    "nvidia": "remove it, or guard it",
    "numba.cuda": "write the kernel with PyTorch operators",
    "pycuda": "write the kernel with PyTorch operators",
    "pynvml": "use torch.accelerator's memory functions",
    "tensorrt": "ask the vendor for its inference engine",
    "transformer_engine": "use torch.nn, with the chip's own low-precision layers where it has them",
    "triton": "ask the vendor for its Triton, or write the kernel with PyTorch operators",
    "xformers": "torch.nn.functional.scaled_dot_product_attention computes the same",
}
_WORDS = r"cuda|nccl|cudnn|cublas|nvidia|nvml|nvtx|nvcc|cupy|triton|flash_attn|xformers|bitsandbytes|deepspeed"
BOUND = re.compile(rf"{_WORDS}|transformer_engine|tensorrt|\bapex\b", re.IGNORECASE)
# A file without any of these is not looked at further.
WORTH_PARSING = re.compile(rb"(?i)" + BOUND.pattern.encode() + rb"|pin_memory")
# Of a file without any of these nothing flows on.
WORTH_KNOWING = re.compile(rb"(?i)torch|device|backend|" + WORTH_PARSING.pattern.removeprefix(b"(?i)"))
DEVICE_STRING = re.compile(r"cuda(:[^\\\s\"']*)?\Z")


def is_text(value: str) -> bool:
    """Whether a string is prose for people: more than one word."""
    return bool(re.search(r"\S\s+\S", value.strip()))


def is_bound(value: str) -> bool:
    """Whether a string or name holds a CUDA word that is a word of its own, not a part of another ('barracuda')."""
    return any(_stands_alone(value, m) for m in BOUND.finditer(value))


def _stands_alone(value: str, match: re.Match[str]) -> bool:
    before = value[match.start() - 1 : match.start()]
    after = value[match.end() : match.end() + 1]
    return not (before.isalpha() and before.islower() and match[0].islower()) and not (
        after.isalpha() and after.islower() and match[0].islower()
    )
