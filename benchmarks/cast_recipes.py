"""A checkpoint from one format to another as DeepSeek's inference scripts do it, in plain PyTorch on a CPU.

    python benchmarks/cast_recipes.py to-bf16|to-fp8 SOURCE OUT

Shard after shard: all of its tensors are loaded, converted one after the other and saved. No check, no hash, no fsync.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch_recipes import deepgemm, dequantized

SCALE = ".weight_scale_inv"


def to_bf16(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        scales = tensors.get(name.removesuffix(".weight") + SCALE)
        if scales is not None and name.endswith(".weight"):
            found[name] = dequantized(tensor, scales, torch.bfloat16)
        elif not name.endswith(SCALE):
            found[name] = tensor
    return found


def to_fp8(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2:
            found[name], found[name.removesuffix(".weight") + SCALE] = deepgemm(tensor)
        else:
            found[name] = tensor
    return found


def main(way: str, source: Path, out: Path) -> None:
    out.mkdir()
    convert = {"to-bf16": to_bf16, "to-fp8": to_fp8}[way]
    with torch.inference_mode():
        for path in sorted(source.glob("*.safetensors")):
            save_file(convert(load_file(path)), out / path.name, {"format": "pt"})


if __name__ == "__main__" and len(sys.argv) > 1:  # without arguments: imports only
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
