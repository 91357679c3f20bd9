"""Operators that new chips and models are made around, with one meaning on every device.

    from xinqiao.ops import linear_block_fp8, nsa_attention, dsa_attention, experts, use

Each is plain PyTorch in `reference`, which is the meaning; compiled in `cpu`; in Triton in `triton`. The device picks
one, or `with use("reference"):`. Importing this package imports nothing else; each part is loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xinqiao.ops.backend import use
    from xinqiao.ops.cache import NsaCache
    from xinqiao.ops.compress import Compression
    from xinqiao.ops.dsa import dsa_attention, dsa_index, dsa_quantize
    from xinqiao.ops.linear import linear_block_fp8, linear_int8
    from xinqiao.ops.modules import Fp8Linear, Int8Linear
    from xinqiao.ops.moe import experts, grouped_linear, route, update_bias
    from xinqiao.ops.nsa import Branch, nsa_attention
    from xinqiao.ops.rules import Choosing

_WHERE = {
    **{"use": "backend", "NsaCache": "cache", "Compression": "compress", "Choosing": "rules"},
    **dict.fromkeys(("dsa_attention", "dsa_index", "dsa_quantize"), "dsa"),
    **dict.fromkeys(("linear_block_fp8", "linear_int8"), "linear"),
    **dict.fromkeys(("Fp8Linear", "Int8Linear"), "modules"),
    **dict.fromkeys(("experts", "grouped_linear", "route", "update_bias"), "moe"),
    **dict.fromkeys(("Branch", "nsa_attention"), "nsa"),
}
__all__ = [
    "Branch", "Choosing", "Compression", "Fp8Linear", "Int8Linear", "NsaCache", "dsa_attention", "dsa_index",
    "dsa_quantize", "experts", "grouped_linear", "linear_block_fp8", "linear_int8", "nsa_attention", "route",
    "update_bias", "use",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(import_module(f"xinqiao.ops.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'xinqiao.ops' has no attribute '{name}'")
