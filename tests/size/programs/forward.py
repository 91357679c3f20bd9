"""One forward pass and a greedy choice, as transformers runs them: seconds on the device's clock, as JSON.

{kind: {"prefill 512": seconds, "decode 512": seconds, …}}: a prompt of 512 tokens; a step of 4 sequences that have 512.
"""

import json
import sys
from collections.abc import Callable

sys.modules.setdefault("torchvision", None)  # where it is for another PyTorch, its import fails; nothing here needs it

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

DEVICE = torch.accelerator.current_accelerator()
LAYERS, KV_HEADS, HEAD_DIM, SEQUENCES = 3, 4, 128, 4
SIZES = {"hidden_size": 2048, "num_hidden_layers": LAYERS, "num_attention_heads": 16, "vocab_size": 32000,
         "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "max_position_embeddings": 16384}  # fmt: skip
KINDS = {
    "llama": {"intermediate_size": 8192},
    "qwen3_moe": {"moe_intermediate_size": 768, "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": True},
    "mixtral": {"intermediate_size": 4096, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None},
}


def model(kind: str) -> nn.Module:
    config = AutoConfig.for_model(kind, **SIZES, **KINDS[kind])
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    return made.eval().to_empty(device=DEVICE)


def filled(tokens: int) -> DynamicCache:
    cache = DynamicCache()
    for layer in range(LAYERS):
        shape = (SEQUENCES, KV_HEADS, tokens, HEAD_DIM)
        cache.update(*(torch.empty(shape, dtype=torch.bfloat16, device=DEVICE) for _ in "kv"), layer)
    return cache


def seconds(step: Callable[[], object]) -> float:
    start, end = (torch.Event(DEVICE, enable_timing=True) for _ in range(2))
    start.record()
    step()
    end.record()
    torch.accelerator.synchronize()
    return start.elapsed_time(end) / 1e3


@torch.inference_mode()
def measure(net: nn.Module, tokens: int) -> dict[str, float]:
    def step(batch: int, length: int, **named: object) -> torch.Tensor:
        ids = torch.empty(batch, length, dtype=torch.long, device=DEVICE)
        return net(ids, logits_to_keep=1, **named).logits[:, -1].float().argmax(-1)

    cache = filled(tokens)
    return {
        f"prefill {tokens}": seconds(lambda: step(1, tokens)),
        f"decode {tokens}": seconds(lambda: step(SEQUENCES, 1, cache=cache)),
    }


if __name__ == "__main__":
    found = {}
    for kind in KINDS:
        net = model(kind)
        found[kind] = {name: took for tokens in (512, 4096) for name, took in measure(net, tokens).items()}
    print(json.dumps(found))
