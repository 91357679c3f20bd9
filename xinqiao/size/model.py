from typing import NamedTuple
from msgspec import Struct
class Attention(Struct, frozen=True, kw_only=True):
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    q_rank: int = 0
    kv_rank: int = 0
    rope_dim: int = 0
    window: int = 0
    index_heads: int = 0
    index_dim: int = 0
    index_top_k: int = 0
class Experts(Struct, frozen=True, kw_only=True):
    count: int
    top_k: int
    inner: int
    shared_inner: int = 0
class Layer(Struct, frozen=True, kw_only=True):
    count: int
    attention: Attention
    inner: int = 0
    experts: Experts | None = None
    gated: bool = True
class Model(Struct, frozen=True, kw_only=True):
    name: str
    family: str
    hidden: int
    vocab: int
    layers: tuple[Layer, ...]
    tied: bool = False
    context: int = 0
    mtp_layers: int = 0
    stored: str = "bf16"
    source: str = ""
