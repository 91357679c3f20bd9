"""A key and its value, in a configuration or on a command line: device, back end, precision."""

import re
from functools import lru_cache

from xinqiao.port.files import images, variables
from xinqiao.port.files.advice import ASK, OWN_MAKER, SAME_DEVICE, Advice, is_cudas_own, needs_you, refused, safe
from xinqiao.port.target import Target
from xinqiao.port.words import is_bound

_DEVICE_KEY = re.compile(r"(^|_)(devices?|gpus?|accelerator|map_location)($|_(type|map|name|str|id|ids)$)")
_DEVICE_VALUE = re.compile(r"cuda(:\d+)?(,\s*cuda(:\d+)?)*")
_BACKEND_KEY = re.compile(r"(^|_)(backend|dist_backend|distributed_backend|comm|communication_backend(_name)?)$")
_BACKEND_VALUE = re.compile(r"(\w+:\w+,)*(\w+:)?nccl(,\w+:\w+)*")
_PER_NODE = re.compile(r"nproc_per_node|nproc")
_PRECISION_KEY = re.compile(
    r"(^|_)(fp16|bf16|fp8|fp64|float16|bfloat16|float64|dtype|precision|mixed_precision|quantization|quant_method)($|_)"
)
_PRECISIONS = {  # as configurations write them → PyTorch's
    r"fp16|float16|half|16(-mixed|-true)?": "float16",
    r"bf16|bfloat16|bf16-(mixed|true)": "bfloat16",
    r"fp8\w*|float8|float8_e4m3fn|fp8_e4m3(fn)?|e4m3(fn)?": "float8_e4m3fn",
    r"float8_e5m2|fp8_e5m2|e5m2": "float8_e5m2",
    r"fp64|float64|double|64(-true)?": "float64",
}
_ON = ("true", "yes", "on", "1", "auto", "")
_OFF = ("false", "no", "off", "0", "none", "null")
_PROSE_KEYS = re.compile(
    r"(^|_)(description|desc|help|title|name|summary|comment|doc|message|text|keywords|classifiers)$"
)
_NUMBER = re.compile(r"[\d.,\s\[\]-]*|true|false|null|none|yes|no|on|off", re.IGNORECASE)
OWN_KEY = safe("a setting of your own: the code that reads it is looked at")


def advice(keys: tuple[str, ...], value: str, target: Target) -> Advice | None:
    """What becomes of a value that stands under these keys, the outermost first; None where it is not CUDA-bound.

    `text` is the new value.
    """
    key = _plain(keys[-1]) if keys else ""
    if found := _precision(keys, value.strip().lower(), target) or _special(key, value, target):
        return found
    if not (is_bound(value) or is_bound(key)):
        return None
    if _NUMBER.fullmatch(value):
        return OWN_KEY
    if _PROSE_KEYS.search(key) and not (_DEVICE_KEY.search(key) or _BACKEND_KEY.search(key)):
        return safe("a text for people")
    if _DEVICE_VALUE.fullmatch(value) and _DEVICE_KEY.search(key):
        return _renamed(value, "the device", target)
    if _BACKEND_VALUE.fullmatch(value) and _BACKEND_KEY.search(key):
        return _renamed(value, "the back end", target)
    if key == "image" and (found := images.advice(value, target)):
        return found
    return _rest(value, target) if is_bound(value) else OWN_KEY


@lru_cache(1024)  # a list's values have the same key, and there may be many
def _plain(key: str) -> str:
    return re.sub(r"[-.]", "_", key.strip().lstrip("-")).lower()


def _rest(value: str, target: Target) -> Advice:
    if "nvidia" in value.lower() and is_cudas_own(target):
        return OWN_MAKER
    if "nvidia" in value.lower():
        return needs_you("NVIDIA's own package, image or tool: take the vendor's on this chip")
    return unsure(value, target)


def vendors_words(value: str, target: Target) -> str:
    """'cuda:0' or 'cpu:gloo,cuda:nccl' in this chip's words."""
    torch = target.chip.torch
    return re.sub(r"\bnccl\b", torch.collective, re.sub(r"\bcuda\b", torch.device, value))


def _renamed(value: str, what: str, target: Target) -> Advice:
    if target.audit:
        return SAME_DEVICE
    words = vendors_words(value, target)
    if target.style == "vendor":
        return Advice("rewritten", f"{what} of this chip", words)
    return needs_you(f"{what} is written down: on this chip write {words}, or leave it out where the code asks PyTorch")


def unsure(value: str, target: Target) -> Advice:
    """What becomes of a value that nothing is known of."""
    if target.audit:
        return SAME_DEVICE
    if _DEVICE_VALUE.fullmatch(value) or _BACKEND_VALUE.fullmatch(value):
        words = vendors_words(value, target)
        return needs_you(f"this may name a device or a back end: if it does, write {words} on this chip")
    return needs_you(ASK)


def _special(key: str, value: str, target: Target) -> Advice | None:
    """Words that mean CUDA without saying so, in tools that many projects use."""
    word = value.strip()
    lower = word.lower()
    if _PER_NODE.fullmatch(key) and lower == "gpu":
        return Advice("rewritten", "torchrun's 'auto' counts the devices of any accelerator", "auto")
    if key == "accelerator" and lower in ("gpu", "cuda"):
        step = "it needs the vendor's accelerator for Lightning, or your own"
        return SAME_DEVICE if target.audit else needs_you(f"Lightning takes this for CUDA: {step}")
    if key == "distributed_type" and word == "MULTI_GPU":
        words = f"MULTI_{target.chip.torch.device.upper()}"
        return _accelerate(words, target)
    if key in ("attn_implementation", "attention_implementation") and lower.startswith("flash_attention"):
        return OWN_MAKER if is_cudas_own(target) else needs_you(
            "a package for CUDA computes this: write sdpa, which computes the same, or ask the vendor for its own"
        )  # fmt: skip
    if key in ("optim", "optimizer") and ("8bit" in lower or "apex" in lower):
        return OWN_MAKER if is_cudas_own(target) else needs_you(
            "a package for CUDA computes this optimizer: take one of torch.optim, such as adamw_torch"
        )  # fmt: skip
    if key in ("tf32", "allow_tf32") and lower in ("true", "1", "yes"):
        return _tf32(target)
    return None


def _accelerate(words: str, target: Target) -> Advice:
    if target.audit:
        return SAME_DEVICE
    if target.style == "vendor":
        return Advice("rewritten", "Accelerate's word for several of this chip", words)
    return needs_you(f"Accelerate's word for several CUDA devices: on this chip write {words}")


def _tf32(target: Target) -> Advice | None:
    if target.audit:
        return None
    return needs_you("TF32 is a mode of CUDA's matrix units, and some programs stop where it is missing: write false")


def _precision(keys: tuple[str, ...], value: str, target: Target) -> Advice | None:
    """A number format that the chip may lack."""
    if not keys or value in _OFF:
        return None
    key = _plain(keys[-1])
    if key in ("enabled", "enable") and len(keys) > 1:
        key = _plain(keys[-2])
    if not (found := _PRECISION_KEY.search(key)):
        return None
    word = value if value not in _ON else found[2]
    if word.isdigit() and not key.endswith("precision"):
        return None
    dtype = next((d for pattern, d in _PRECISIONS.items() if re.fullmatch(pattern, word.removeprefix("torch."))), None)
    if dtype is None:
        return None
    state = target.chip.dtypes.state(dtype)
    if state == "refused":
        return refused(f"this chip has no {dtype}: choose another number format")
    if state == "partial":
        return needs_you(f"only some operators of this chip have {dtype}: prove the port with it, or choose another")
    if state == "unknown" and dtype.startswith("float8"):
        return needs_you(f"whether this chip has {dtype} is not known: ask the vendor, or choose another")
    return None


def variable(name: str, target: Target) -> Advice | None:
    """What becomes of a key that is an environment variable; None where it is not one of CUDA's."""
    return variables.advice(name, target) if variables.is_cudas(name) else None
