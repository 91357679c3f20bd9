"""What makes a place CUDA-bound, as words."""

import re

from xinqiao.port import packages

PLAIN = (
    "cuda", "nccl", "cudnn", "cublas", "nvidia", "nvml", "nvtx", "nvcc", "cupy", "triton", "flash_attn", "flash-attn",
    "xformers", "bitsandbytes", "deepspeed", "transformer_engine", "tensorrt", "nvfuser", "flash_attention_2",
    "flash_attention_3",
)  # fmt: skip
BUILD = r"\b(?-i:cu)(?:9[0-2]|1[0-3]\d)\b"  # 'cu121', as wheels and indexes are named
BOUND = re.compile(rf"{'|'.join(PLAIN)}|\bapex\b|{BUILD}", re.IGNORECASE)
_MORE = rb"flash_attention_|use_flash_attn|gpu_hist|cpp_extension|"
# A file without any of these is not looked at further.
_OTHERS = (  # that rules look at, with no CUDA word in them
    rb"|pin_memory|float64|\bc?double\b|complex(?:32|64|128)|dtype=float\b|view_as_complex|\bpolar\b|\bi?r?fft|\bi?stft"
    rb"|float[48]_|\buint(?:16|32|64)|torch\.compile|torch\.jit\.fuser|float32_matmul|torch\.device\(\d|\.to\(\d|gputil"
)
# Case-sensitive patterns over text in lower case take a third of the time of patterns that ignore the case.
_WORTH_PARSING = BOUND.pattern.encode() + _OTHERS + rb"|" + _MORE + packages.words().pattern.lower()
_PARSED = re.compile(_WORTH_PARSING)
_KNOWN = re.compile(rb"torch|device|backend|" + _WORTH_PARSING)
DEVICE_STRING = re.compile(r"cuda(:[^\\\s\"']*)?\Z")


def is_worth_parsing(data: bytes) -> bool:
    """Whether a file may hold a CUDA-bound place."""
    low = data.lower()
    return b"cuda" in low or _PARSED.search(low) is not None


def is_worth_knowing(data: bytes) -> bool:
    """Whether something that other files hand on may flow through a file."""
    low = data.lower()
    return b"torch" in low or b"device" in low or _KNOWN.search(low) is not None


def is_text(value: str) -> bool:
    """Whether a string is prose for people: more than one word."""
    return bool(re.search(r"\S\s+\S", value.strip()))


def is_bound(value: str) -> bool:
    """Whether a string or name holds a CUDA word that is a word of its own, not a part of another ('barracuda')."""
    return any(map(_stands_alone, BOUND.finditer(value)))


def _stands_alone(match: re.Match[str]) -> bool:
    start, end = match.span()
    before, after = match.string[start - 1 : start], match.string[end : end + 1]
    if not (before or after) or not match[0].islower():
        return True
    return not (before.isalpha() and before.islower()) and not (after.isalpha() and after.islower())
