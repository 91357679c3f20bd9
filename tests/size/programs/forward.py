"""One forward pass of a decoder without weights: `forward.py KIND prefill|decode TOKENS STEPS`, sizes as in SIZES.

prefill: TOKENS of one prompt, STEPS times. decode: 4 sequences with TOKENS in their cache, STEPS steps.
"""

import sys

sys.modules.setdefault("torchvision", None)  # where it is for another PyTorch, its import fails; nothing here needs it

import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

SIZES = {"hidden_size": 2048, "num_hidden_layers": 3, "num_attention_heads": 16, "num_key_value_heads": 4,
         "vocab_size": 32000, "head_dim": 128}  # fmt: skip
KINDS = {
    "llama": {"intermediate_size": 8192},
    "mixtral": {"intermediate_size": 4096, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None},
    "qwen3_moe": {"moe_intermediate_size": 768, "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": True},
}
kind, phase, tokens, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
device = torch.accelerator.current_accelerator()
config = AutoConfig.for_model(kind, **SIZES, **KINDS[kind], max_position_embeddings=2 * tokens + 64)
with torch.device("meta"):
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
model.to_empty(device=device)
with torch.inference_mode():
    if phase == "prefill":
        for _ in range(steps):
            model(torch.empty(1, tokens, dtype=torch.long, device=device), logits_to_keep=1)
    else:
        shape = (4, config.num_key_value_heads, tokens, SIZES["head_dim"])
        held = [tuple(torch.empty(shape, dtype=torch.bfloat16, device=device) for _ in "kv") for _ in model.model.layers]
        cache = DynamicCache(held)
        for _ in range(steps):
            model(torch.empty(4, 1, dtype=torch.long, device=device), cache=cache)
