"""Plugs into transformers: `import xinqiao.ops.transformers`, then

    experts_implementation="xinqiao"    gated experts as one operator, quantised ones too
    attn_implementation="xinqiao_dsa"   models with DeepSeek's indexer: attention at the chosen tokens and no others
    attn_implementation="xinqiao_nsa"   native sparse attention, for attention modules that pass gates

of `from_pretrained`, or of `set_experts_implementation` and `set_attn_implementation`.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.activations import ACT2FN
from transformers.integrations.moe import ExpertsInterface, _default_apply_gate
from transformers.masking_utils import sdpa_mask

from xinqiao.errors import InputError
from xinqiao.ops import moe
from xinqiao.ops.compress import Compression
from xinqiao.ops.dsa import dsa_attention
from xinqiao.ops.nsa import Branch, nsa_attention
from xinqiao.ops.rules import PAPER, Choosing

SILU = type(ACT2FN["silu"])


def experts(module: Any, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
    """[tokens, hidden] of a module that transformers' `use_experts_implementation` made.

    Gated experts with SiLU are one operator; others are grouped products around the module's own activation. Weights in
    float8_e4m3fn and int8 are multiplied as they are, by the scales that `xinqiao.load` lays beside them. Indices past
    the last expert are other processes': they count nothing.
    """
    chosen = top_k_index.masked_fill(top_k_index >= module.num_experts, -1)
    if not _is_gated_silu(module):
        return _composed(module, hidden_states, chosen, top_k_weights)
    first, second = _scale(module, "gate_up_proj"), _scale(module, "down_proj")
    return moe.experts(
        *(hidden_states, top_k_weights, chosen, module.gate_up_proj, module.down_proj),
        gate_up_scale=first,
        down_scale=second,
        block=getattr(module, "block", (128, 128)),
    )


def _is_gated_silu(module: Any) -> bool:
    """Whether the module is [gate; up] rows, SiLU, and nothing else: what the fused operator computes."""
    plain = module.has_gate and module.is_concatenated and type(module)._apply_gate is _default_apply_gate
    odd = module.has_bias or module.is_transposed or module.has_post_expert_norm
    return bool(plain and not odd and isinstance(module.act_fn, SILU | nn.SiLU))


def _composed(module: Any, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """Rows by expert, two grouped products, and the weighted sum in the order of choice."""
    order = chosen.flatten().argsort(stable=True)
    owner = chosen.flatten()[order]
    rows = x[order // chosen.shape[1]]
    first = max(0, int((owner < 0).sum()))
    offsets = moe.load(chosen, module.num_experts).cumsum(0)
    name = "gate_up_proj" if module.has_gate else "up_proj"
    hidden = _grouped(module, name, rows[first:], offsets)
    hidden = module._apply_gate(hidden) if module.has_gate else module.act_fn(hidden)
    found = _grouped(module, "down_proj", hidden, offsets)
    if module.has_post_expert_norm:
        found = module.post_expert_norm(found)
    each = x.new_zeros(chosen.numel(), x.shape[1]).index_copy(0, order[first:], found)
    factors = weights.masked_fill(chosen < 0, 0)[..., None]
    return (each.view(*chosen.shape, -1) * factors).sum(1).to(x.dtype)


def _grouped(module: Any, name: str, x: Tensor, offsets: Tensor) -> Tensor:
    weight = getattr(module, name)
    weight = weight.transpose(1, 2).contiguous() if module.is_transposed else weight
    bias = getattr(module, f"{name}_bias") if module.has_bias else None
    block = getattr(module, "block", (128, 128))
    return moe.grouped_linear(x, weight, offsets, bias, scale=_scale(module, name), block=block)


def _scale(module: Any, name: str) -> Tensor | None:
    """Scales of a weight; None where it has none. Those of int8 rows are [experts, rows, 1] in checkpoints."""
    found: Tensor | None = getattr(module, f"{name}_scale_inv", None)
    if found is None:
        found = getattr(module, f"{name}_scale", None)
    return found.squeeze(-1) if found is not None and getattr(module, name).dtype == torch.int8 else found


def dsa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    indices: Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention at the tokens that an indexer chose: [batch, length, heads, d_v], and no weights.

    query           [batch, heads, length, d]; key, value [batch, heads, tokens, d or d_v]
    attention_mask  bool [batch, 1, length, tokens]; chosen tokens that it hides are passed over
    indices         [batch, length, n], the same for all heads
    """
    _no_dropout("xinqiao_dsa", dropout)
    if indices is None:
        raise InputError("xinqiao_dsa: the attention module passes no indices; it is for models with an indexer")
    batch, heads, length, d = query.shape
    hidden = ~attention_mask[:, 0].gather(-1, indices.long())
    choice = indices.masked_fill(hidden, -1).int().repeat_interleave(heads, 0)
    # One cache row is the value and the key beside it: a query with zeros at the value's place meets the key alone.
    latent = torch.cat((value, key), -1).flatten(0, 1)
    wide = torch.cat((query.new_zeros(*query.shape[:3], value.shape[-1]), query), -1).flatten(0, 1)
    scale = d**-0.5 if scaling is None else scaling
    out = dsa_attention(wide[:, :, None], latent, choice, d_v=value.shape[-1], scale=scale)
    return out.view(batch, heads, length, -1).transpose(1, 2).contiguous(), None


def nsa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    gates: Tensor | None = None,
    compressed: Branch | None = None,
    selected: Branch | None = None,
    rule: Choosing = PAPER,
    tokens: int = 512,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Native sparse attention: [batch, length, heads, d_v], and no weights. Sequences are whole and not padded.

    query       [batch, heads, length, d]; key, value [batch, kv_heads, length, d or d_v]: of the window, and of the
                chosen blocks where `selected` is None
    gates       [batch, length, heads, 3], which the attention module must pass; so it may what follows
    compressed  None: means of the keys and values
    selected, rule, tokens: as `nsa_attention` has them
    """
    _no_dropout("xinqiao_nsa", dropout)
    if gates is None:
        raise InputError("xinqiao_nsa: the attention module passes no gates=[batch, length, heads, 3]")
    if query.shape[2] != key.shape[2]:
        raise InputError(f"xinqiao_nsa: {query.shape[2]} queries of {key.shape[2]} keys, expected whole sequences")
    if attention_mask is not None and not bool(attention_mask.diagonal(0, -2, -1).all()):
        raise InputError("xinqiao_nsa: attention_mask hides tokens, expected sequences without padding")
    window = Branch(key.transpose(1, 2), value.transpose(1, 2))
    means = compressed or Branch(*(Compression(x.shape[-1], rule, kind="mean")(x) for x in window))
    out = nsa_attention(
        query.transpose(1, 2), means, selected or window, window, gates, rule=rule, tokens=tokens, scale=scaling
    )
    return out, None


def _no_dropout(name: str, dropout: float) -> None:
    if dropout:
        raise InputError(f"{name}: dropout is {dropout}, expected 0")


ExpertsInterface.register("xinqiao", experts)
AttentionInterface.register("xinqiao_dsa", dsa)
AttentionInterface.register("xinqiao_nsa", nsa)
for _name in ("xinqiao_dsa", "xinqiao_nsa"):
    AttentionMaskInterface.register(_name, sdpa_mask)
