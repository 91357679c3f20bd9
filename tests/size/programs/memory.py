"""Programs as people write them, on a device without data. Prints each one's peak memory: {name: bytes} as JSON.

Sizes are small, and large enough that no allocator's rounding shows. `memory.py VOCABULARY [NAME...]`
"""

import gc
import json
import sys
from collections.abc import Callable

sys.modules.setdefault("torchvision", None)  # where it is for another PyTorch, its import fails; nothing here needs it

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, StaticCache

DEVICE = torch.accelerator.current_accelerator()
BATCH, LENGTH, CONTEXT, STEPS = 4, 1024, 4096, 2
VOCABULARY = int(sys.argv[1])
COMMON = {"vocab_size": VOCABULARY, "max_position_embeddings": 8192}
LLAMA = {**COMMON, "hidden_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 16, "head_dim": 64,
         "intermediate_size": 2816}  # fmt: skip
QWEN_MOE = {**COMMON, "hidden_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 16, "head_dim": 64,
            "num_key_value_heads": 4, "moe_intermediate_size": 512, "num_experts": 16, "num_experts_per_tok": 4,
            "norm_topk_prob": True, "output_router_logits": False}  # fmt: skip
GPT2 = {"vocab_size": VOCABULARY, "n_positions": 8192, "n_embd": 1024, "n_layer": 4, "n_head": 16, "resid_pdrop": 0.0,
        "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # fmt: skip


def model(kind: str, sizes: dict[str, object], dtype: torch.dtype, attention: str = "sdpa") -> nn.Module:
    config = AutoConfig.for_model(kind, **sizes)
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    made.to_empty(device=DEVICE).tie_weights()
    return made


def llama(dtype: torch.dtype, kv_heads: int = 4, attention: str = "sdpa") -> nn.Module:
    return model("llama", {**LLAMA, "num_key_value_heads": kv_heads}, dtype, attention)


def tokens(batch: int = BATCH, length: int = LENGTH) -> torch.Tensor:
    return torch.empty(batch, length, dtype=torch.long, device=DEVICE)


def loss_of(net: nn.Module) -> torch.Tensor:
    ids = tokens()
    return net(input_ids=ids, labels=ids, use_cache=False).loss


def train(net: nn.Module, *, autocast: bool = False) -> None:
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-4)
    net.train()
    for _ in range(STEPS):
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=autocast):
            loss = loss_of(net)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def train_fp32() -> None:
    train(llama(torch.float32, kv_heads=16))


def train_autocast() -> None:
    train(llama(torch.float32), autocast=True)


def train_master() -> None:
    """bf16 weights, an fp32 copy that the optimizer updates."""
    net = llama(torch.bfloat16).train()
    master = [p.detach().float() for p in net.parameters()]
    optimizer = torch.optim.AdamW(master, lr=1e-4)
    for _ in range(STEPS):
        loss_of(net).backward()
        for copy, p in zip(master, net.parameters(), strict=True):
            copy.grad, p.grad = p.grad.float(), None
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for copy, p in zip(master, net.parameters(), strict=True):
                p.copy_(copy)


class Lora(nn.Module):
    """A frozen linear layer and a trained product of rank `rank` beside it."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Linear(base.in_features, rank, bias=False, dtype=base.weight.dtype, device=DEVICE)
        self.b = nn.Linear(rank, base.out_features, bias=False, dtype=base.weight.dtype, device=DEVICE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.b(self.a(x))


def train_lora() -> None:
    net = llama(torch.bfloat16).requires_grad_(False)
    for layer in net.model.layers:
        layer.self_attn.q_proj = Lora(layer.self_attn.q_proj, 16)
        layer.self_attn.v_proj = Lora(layer.self_attn.v_proj, 16)
    train(net)


def train_checkpointing() -> None:
    net = llama(torch.bfloat16)
    net.gradient_checkpointing_enable()
    train(net)


def train_math() -> None:
    """Attention as products and a softmax, with all scores in memory."""
    train(llama(torch.bfloat16, attention="eager"))


def train_moe() -> None:
    train(model("qwen3_moe", QWEN_MOE, torch.bfloat16))


def train_gpt2() -> None:
    train(model("gpt2", GPT2, torch.float32))


@torch.inference_mode()
def prefill() -> None:
    llama(torch.bfloat16).eval()(tokens(), logits_to_keep=1)


@torch.inference_mode()
def prefill_moe() -> None:
    model("qwen3_moe", QWEN_MOE, torch.bfloat16).eval()(tokens(), logits_to_keep=1)


def steps(net: nn.Module, cache: DynamicCache | StaticCache) -> None:
    """The peak is that of decoding, not of the prompt."""
    torch.accelerator.reset_peak_memory_stats()
    for _ in range(STEPS):
        net(tokens(BATCH, 1), cache=cache).logits[:, -1].float().argmax(-1)


@torch.inference_mode()
def decode_dynamic() -> None:
    net = llama(torch.bfloat16).eval()
    cache = DynamicCache()
    for layer in range(len(net.model.layers)):
        cache.update(*(torch.empty(BATCH, 4, CONTEXT, 64, dtype=torch.bfloat16, device=DEVICE) for _ in "kv"), layer)
    steps(net, cache)


@torch.inference_mode()
def decode_static() -> None:
    net = llama(torch.bfloat16).eval()
    steps(net, StaticCache(config=net.config, max_cache_len=CONTEXT))


PROGRAMS: list[Callable[[], None]] = [
    train_fp32, train_autocast, train_master, train_lora, train_checkpointing, train_math, train_moe, train_gpt2,
    prefill, prefill_moe, decode_dynamic, decode_static,
]  # fmt: skip


def peak(program: Callable[[], None]) -> int:
    gc.collect()
    assert torch.accelerator.memory_allocated() < 1 << 20, "the program before still holds memory"
    torch.accelerator.reset_peak_memory_stats()
    program()
    return torch.accelerator.max_memory_allocated()


if __name__ == "__main__":
    wanted = sys.argv[2:]
    print(json.dumps({p.__name__: peak(p) for p in PROGRAMS if not wanted or p.__name__ in wanted}))
