"""Turn one PyTorch file into a safetensors file. Run as a process of its own, whose memory the caller limits.

    python -m xinqiao.convert.source.unpickle FILE.bin FILE.safetensors

Only tensors are taken (torch.load with weights_only). Names that share one storage are tied weights: the first is
written, as Hugging Face's own writer does, and the others are listed on the standard output.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from xinqiao.convert.source.pickles import RATIO

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def tensors_of(loaded: object) -> tuple[dict[str, Tensor], list[str]]:
    """The named tensors of a state dict, or of one inside 'state_dict' or 'model', and the names tied to one before.

    ValueError for anything else.
    """
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        raise ValueError("holds no dictionary of tensors")
    found: dict[str, Tensor] = {}
    tied, seen = [], set()
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.dtype not in DTYPES:
            raise ValueError(f"{name!r} is not a tensor of a known dtype")
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in seen:
            tied.append(name)
        else:
            found[name] = tensor
        seen.add(place)
    return found, tied


def write(tensors: dict[str, Tensor], path: Path) -> None:
    """A safetensors file, tensor by tensor."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    tensors, tied = tensors_of(torch.load(source, map_location="cpu", weights_only=True, mmap=True))
    if sum(tensor.nbytes for tensor in tensors.values()) > RATIO * source.stat().st_size:
        raise ValueError(f"has tensors that repeat what they hold to more than {RATIO} times its size")
    write(tensors, target)
    print(json.dumps(tied))


if __name__ == "__main__":
    main()
