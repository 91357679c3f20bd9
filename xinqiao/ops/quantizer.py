"""How transformers builds a model for quantised weights and reads them, by its own plug for quantisation methods.

It renames and maps weights as the model's family needs; what is replaced is decided by the tensors in the files, not by
lists of module names, which checkpoints leave out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

import xinqiao.ops.transformers  # noqa: F401  (registers the experts)
from xinqiao.errors import InputError
from xinqiao.ops.modules import Fp8Linear, Int8Linear

METHOD = "xinqiao"
_SCALES: Final = (".weight_scale_inv", ".weight_scale", ".scale")
_DTYPES: Final = {
    "F8_E4M3": torch.float8_e4m3fn,
    "I8": torch.int8,
    "F32": torch.float32,
    "F8_E8M0": torch.float8_e8m0fnu,
    "U8": torch.uint8,
}


class Stored(NamedTuple):
    """A tensor as a file's header has it."""

    dtype: str  # as safetensors names it
    shape: tuple[int, ...]


class Quantised(NamedTuple):
    """A weight's codes, its scales, and how the scales' name ends."""

    codes: Stored
    scales: Stored
    ending: str


@register_quantization_config(METHOD)
class StoredConfig(QuantizationConfigMixin):
    """The quantization_config of the folder's config.json, under this method's name."""

    def __init__(self, stored: Mapping[str, Any] | None = None, **_: object) -> None:
        self.quant_method = METHOD
        self.stored = dict(stored or {})


@register_quantizer(METHOD)
class StoredQuantizer(HfQuantizer):
    """Replaces modules on the meta device, before the weights come."""

    def __init__(self, quantization_config: StoredConfig, **how: Any) -> None:
        super().__init__(quantization_config, **how)
        self.serialized_names: dict[str, list[str]] = {}

    def _process_model_before_weight_loading(
        self, model: nn.Module, checkpoint_files: Sequence[str] = (), **_: object
    ) -> None:
        found = quantised(headers(checkpoint_files))
        self.serialized_names = {"weight": ["weight", *sorted({f"weight{_suffix(q)}" for q in found.values()})]}
        replace(model, found)

    def update_weight_conversions(self, weight_conversions: list[Any], model: nn.Module) -> list[Any]:
        """Of experts, DeepSeek-V4's `.scale` is what others call `.weight_scale_inv`."""
        renamed = [WeightRenaming(r"^(.+\.experts\..+)\.scale$", r"\1.weight_scale_inv")]
        return renamed + list(super().update_weight_conversions(weight_conversions, model))

    def is_serializable(self) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return False

    @property
    def is_compileable(self) -> bool:
        return True


def headers(files: Sequence[str]) -> dict[str, Stored]:
    """Every tensor of the files."""
    found = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (it is no mapping)
                    part = file.get_slice(name)
                    found[name] = Stored(part.get_dtype(), tuple(part.get_shape()))
        except SafetensorError as error:
            raise InputError(f"{path}: not a safetensors file: {error}") from error
    return found


def quantised(stored: Mapping[str, Stored]) -> dict[str, Quantised]:
    """The weights that have scales, by name. InputError for codes and scales of other formats."""
    found = {}
    for name, scales in stored.items():
        ending = next((ending for ending in _SCALES if name.endswith(ending)), "")
        weight = f"{name.removesuffix(ending)}.weight"
        codes = stored.get(weight)
        if not ending or codes is None or codes.dtype not in ("F8_E4M3", "I8"):
            continue
        if scales.dtype not in _DTYPES:
            raise InputError(f"{name}: scales in {scales.dtype} are not loaded; {', '.join(_DTYPES)} are")
        found[weight] = Quantised(codes, scales, ending)
    return found


def _suffix(weight: Quantised) -> str:
    """What a parameter's name gets for its scales."""
    return "_scale" if weight.ending == ".weight_scale" else "_scale_inv"


def replace(model: nn.Module, found: Mapping[str, Quantised]) -> None:
    """Give the modules of `found` weights of their stored dtypes and room for scales, on the meta device."""
    rename = _Names(model)
    stacked: dict[str, list[Quantised]] = {}
    for name, weight in found.items():
        target, pattern = rename(name)
        if pattern:
            stacked.setdefault(target, []).append(weight)
            continue
        path = target.removesuffix(".weight")
        linear = model.get_submodule(path) if path in rename.modules else None
        if type(linear) is not nn.Linear:
            kind = type(linear).__name__ if linear is not None else "no module"
            raise InputError(f"{name}: quantised, and {kind} is neither a linear layer nor experts")
        model.set_submodule(path, _linear(linear, name, weight))
    for target, weights in stacked.items():
        path, _, parameter = target.rpartition(".")
        _stack(model.get_submodule(path), parameter, weights)


class _Names:
    """Names in the files → the model's, and the pattern of the merge that a weight is part of, or None."""

    def __init__(self, model: nn.Module) -> None:
        transforms = get_model_conversion_mapping(model)
        self.renamings = [t for t in transforms if isinstance(t, WeightRenaming)]
        self.converters = [t for t in transforms if isinstance(t, WeightConverter)]
        self.prefix, self.state = model.base_model_prefix, model.state_dict()
        self.modules = {name for name, _ in model.named_modules()}

    def __call__(self, name: str) -> tuple[str, str | None]:
        target, pattern = rename_source_key(name, self.renamings, self.converters, self.prefix, self.state)
        if target not in self.state and name in self.state:
            return name, None
        return target, pattern


def _linear(linear: nn.Linear, name: str, weight: Quantised) -> nn.Module:
    given = linear.out_features, linear.in_features
    if weight.codes.shape != given:
        raise InputError(f"{name}: has shape {list(weight.codes.shape)}, expected {list(given)}")
    bias = linear.bias is not None
    kind = _DTYPES[weight.scales.dtype]
    if _block(name, weight) == (1, linear.in_features):
        return Int8Linear(linear.in_features, linear.out_features, bias=bias, device="meta")
    size = _block(name, weight)
    return Fp8Linear(linear.in_features, linear.out_features, bias=bias, block=size, scale_dtype=kind, device="meta")


def _stack(module: Any, name: str, weights: Sequence[Quantised]) -> None:
    """One parameter [experts, rows, columns] of all experts' weights, whose gates and ups lie below each other."""
    count, rows, _ = module.get_parameter(name).shape
    codes, scales, _ = first = weights[0]
    where = f"{type(module).__name__}.{name}"
    if module.is_transposed or any(w != first for w in weights) or len(weights) * codes.shape[0] != count * rows:
        raise InputError(f"{where}: its experts' quantised weights differ or do not fit")
    size = _block(where, first)
    if rows != codes.shape[0] and codes.shape[0] % size[0]:
        raise InputError(f"{where}: experts of {codes.shape[0]} rows, expected a multiple of the block's {size[0]}")
    parts = rows // codes.shape[0]
    for suffix, part in (("", codes), (_suffix(first), scales)):
        shape = (count, parts * part.shape[0], part.shape[1])
        empty = torch.empty(shape, dtype=_DTYPES[part.dtype], device="meta")
        module.register_parameter(f"{name}{suffix}", nn.Parameter(empty, requires_grad=False))
    module.block = size


def _block(name: str, weight: Quantised) -> tuple[int, int]:
    """Rows and columns that share a scale. InputError where the scales are not those of the codes' kind."""
    codes, scales, ending = weight
    of_bytes = (1, 32) if ending == ".weight_scale" else (128, 128)
    size = (1, codes.shape[1]) if codes.dtype == "I8" else of_bytes
    expected = tuple(-(-n // edge) for n, edge in zip(codes.shape, size, strict=True))
    if scales.shape != expected:
        raise InputError(f"{name}: its scales have shape {list(scales.shape)}, expected {list(expected)}")
    return size


def build(folder: Path, config: Mapping[str, Any], *, quantised: bool, dtype: torch.dtype | None) -> nn.Module:
    """The model of the folder. Arguments and errors: `xinqiao.ops.load.load`."""
    name = str(config["architectures"][0])
    kind: Any = getattr(transformers, name, None)
    is_model = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)
    if not is_model:
        raise InputError(f"{folder}: transformers {transformers.__version__} has no model {name}")
    described = kind.config_class.from_pretrained(folder)
    if quantised:
        described.quantization_config = {"quant_method": METHOD, "stored": described.quantization_config}
    try:
        model, said = kind.from_pretrained(
            folder, config=described, dtype=dtype or "auto", experts_implementation="xinqiao",
            ignore_mismatched_sizes=True, output_loading_info=True, local_files_only=True,
            use_safetensors=True,  # never a pickle
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"{folder}: {' '.join(str(error).split())}") from error
    for what, names in (("missing", said["missing_keys"]), ("of other shapes", said["mismatched_keys"])):
        if names:
            first = min(map(str, names))
            raise InputError(f"{folder}: {len(names)} weights of {name} are {what}, such as {first}")
    found: nn.Module = model
    return found
