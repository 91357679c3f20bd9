"""A checkpoint that `xinqiao convert` wrote, as a transformers model that computes with its codes as stored."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from xinqiao.chips.spec import Chip
from xinqiao.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FORMATS = "bf16, fp16, fp8-block, fp8-ue8m0, fp8-ue8m0-v4, mxfp8 and int8-channel"
_CODES = {"mxfp8-quantized": torch.float8_e4m3fn, "int-quantized": torch.int8}  # as compressed-tensors names formats


def load(model_dir: str | Path, *, chip: Chip | None = None, dtype: torch.dtype | None = None) -> "PreTrainedModel":
    """The model in the folder, in evaluation mode, on the CPU.

    Linear layers whose weights are quantised become `Fp8Linear` and `Int8Linear`; quantised experts keep their codes,
    and all experts run as one operator. Weights lie in the files, mapped into memory; copied are only those that
    change: experts that the files hold one by one, and what is not quantised where `dtype` is not the one stored.

    chip    the chip that the model will run on: InputError where it refuses the codes' dtype
    dtype   of activations and of what is not quantised; None: as config.json says

    InputError for a folder without a model that transformers knows, in another format, with missing or misshapen
    weights, or with quantised weights of layers that are neither linear nor experts.
    """
    folder = Path(model_dir)
    config = _config(folder)
    codes = _codes(folder, config.get("quantization_config"))
    if chip and codes and chip.dtypes.state(_name(codes)) == "refused":
        raise InputError(
            f"{folder}: its weights are {_name(codes)}, which {chip.title} refuses; `xinqiao convert --chip "
            f"{chip.name}` writes a format that it has"
        )
    try:
        from xinqiao.ops.quantizer import build
    except ImportError as error:
        raise InputError(f"loading a model needs transformers: pip install transformers ({error})") from error
    return build(folder, config, quantised=codes is not None, dtype=dtype)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict) or not found.get("architectures"):
        raise InputError(f"{path}: names no architecture")
    if not isinstance(found.get("quantization_config") or {}, dict):
        raise InputError(f"{path}: its quantization_config is no table")
    return found


def _codes(folder: Path, quantization: dict[str, Any] | None) -> torch.dtype | None:
    """The dtype of quantised weights; None where nothing is quantised. InputError for formats that are not loaded."""
    if not quantization:
        return None
    method = quantization.get("quant_method")
    if method == "fp8" and quantization.get("weight_block_size") == [128, 128]:
        return torch.float8_e4m3fn
    formats = [str(method)]
    if method == "compressed-tensors":
        groups = quantization.get("config_groups", {}).values()
        formats = [str(group.get("format", quantization.get("format"))) for group in groups]
        if formats and all(name in _CODES for name in formats):
            return _CODES[formats[0]]
    raise InputError(f"{folder}: quantised as {' and '.join(sorted(set(formats)))}, which is not loaded; {FORMATS} are")
