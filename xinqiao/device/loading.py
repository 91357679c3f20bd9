"""`xinqiao.load`: a model out of a folder, on the CPU or on a chip."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from xinqiao.chips import catalog
from xinqiao.chips.spec import Chip
from xinqiao.device import session
from xinqiao.errors import InputError
from xinqiao.ops.load import load as load_on_host
from xinqiao.ops.modules import Fp8Linear, Int8Linear

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load(
    model_dir: str | Path, *, chip: str | Chip | None = None, dtype: torch.dtype | None = None
) -> "PreTrainedModel":
    """The transformers model in a folder that `xinqiao convert` wrote, with layers that multiply its codes as stored.

    Formats: bf16, fp16, fp8-block, fp8-ue8m0, fp8-ue8m0-v4, mxfp8, int8-channel. See `xinqiao.ops.load.load` for what
    is mapped into memory and what is copied, and for errors.

    chip    None: the CPU. A chip: its device, the vendor's own where its package is installed, else a virtual one,
            which this process then has; InputError where the chip refuses the weights' dtype, and for quantised layers
            on a vendor's own device, where these operators are not registered yet
    dtype   of activations and of what is not quantised; None: as config.json says
    """
    wanted = catalog.load(chip) if isinstance(chip, str) else chip
    model = load_on_host(model_dir, chip=wanted, dtype=dtype)
    if wanted is None:
        return model
    if not session.vendor_package(wanted):
        session.virtual(wanted)
    elif any(isinstance(module, Fp8Linear | Int8Linear) for module in model.modules()):
        raise InputError(
            f"{model_dir}: its quantised layers do not run on the vendor's own device yet; load it without a chip, or "
            "convert to bf16"
        )
    return model.to(wanted.torch.device)
