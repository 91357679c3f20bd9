"""Small checkpoints in every way that the field writes them."""

import json
import math

import torch
from safetensors.torch import save_file

E4M3 = torch.float8_e4m3fn
E8M0 = torch.float8_e8m0fnu
FACTOR = 1.32287561893  # the mantissa that all scales of one projection share in a published checkpoint


def normal(*shape, seed=0, spread=0.02):
    generator = torch.Generator().manual_seed(seed * 7919 + math.prod(shape))
    return torch.randn(*shape, generator=generator) * spread


def amax_of_blocks(weight, rows=128, columns=128):
    n, k = weight.shape
    padded = torch.zeros(-(-n // rows) * rows, -(-k // columns) * columns)
    padded[:n, :k] = weight.abs()
    return padded.view(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns).amax((1, 3))


def spread_over(scales, shape, rows=128, columns=128):
    n, k = shape
    return scales.repeat_interleave(rows, 0)[:n].repeat_interleave(columns, 1)[:, :k]


def block_fp8(weight, kind="f32", factor=1.0):
    """(codes, scales) in blocks of 128 x 128. kind: 'f32' any scale, 'pow2' powers of two times `factor`."""
    scales = amax_of_blocks(weight).clamp_min(1e-4) / 448
    if kind == "pow2":
        scales = torch.exp2(torch.ceil(torch.log2(scales / factor))) * factor
    return (weight / spread_over(scales, weight.shape)).to(E4M3), scales


def packed_fp4(weight):
    """(codes packed two a byte, e8m0 scales) in blocks of 1 x 32."""
    levels = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    exponents = torch.ceil(torch.log2(amax_of_blocks(weight, 1, 32).clamp_min(1e-30) / 6)).clamp(-127, 127)
    scaled = weight / spread_over(torch.exp2(exponents), weight.shape, 1, 32)
    codes = (scaled.abs()[..., None] - levels).abs().argmin(-1) + 8 * (scaled < 0)
    packed = (codes[:, 0::2] | codes[:, 1::2] << 4).to(torch.uint8).view(torch.int8)
    return packed, (exponents + 127).to(torch.uint8).view(E8M0)


def save(folder, tensors, config, shards=1):
    """Write a checkpoint in Hugging Face's layout."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    count = -(-len(names) // shards)
    where = {}
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors" if shards > 1 else "model.safetensors"
        part = {name: tensors[name].contiguous() for name in names[i * count : (i + 1) * count]}
        save_file(part, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(part, file)
    if shards > 1:
        index = {"metadata": {"total_size": 0}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def llama(folder, *, layers=2, hidden=256, middle=384, vocabulary=320, shards=1, dtype=torch.bfloat16):
    """A Llama in one dtype."""
    sizes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden // 2, hidden),
        "self_attn.v_proj": (hidden // 2, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (middle, hidden),
        "mlp.up_proj": (middle, hidden),
        "mlp.down_proj": (hidden, middle),
    }
    tensors = {"model.embed_tokens.weight": normal(vocabulary, hidden)}
    for i in range(layers):
        for j, (name, shape) in enumerate(sizes.items()):
            tensors[f"model.layers.{i}.{name}.weight"] = normal(*shape, seed=10 * i + j, spread=0.01 * 2 ** (j % 4))
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{i}.{name}.weight"] = torch.ones(hidden)
    tensors |= {"model.norm.weight": torch.ones(hidden), "lm_head.weight": normal(vocabulary, hidden, seed=99)}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": middle,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    return save(folder, {name: t.to(dtype) for name, t in tensors.items()}, config, shards)


EXPERTS = 4


def deepseek_weights(hidden=256, lora=128, expert=128, heads=4):
    """The weights of two layers of a small DeepSeek-V3, the first dense: name → fp32."""
    attention = {
        "q_a_proj": (lora, hidden),
        "q_b_proj": (heads * 96, lora),
        "kv_a_proj_with_mqa": (lora + 32, hidden),
        "kv_b_proj": (heads * 128, lora),
        "o_proj": (hidden, heads * 64),
    }
    found = {"model.embed_tokens.weight": normal(320, hidden)}
    for layer in range(2):
        at = f"model.layers.{layer}"
        for i, (name, shape) in enumerate(attention.items()):
            found[f"{at}.self_attn.{name}.weight"] = normal(*shape, seed=20 * layer + i)
        for name, size in (("q_a_layernorm", lora), ("kv_a_layernorm", lora)):
            found[f"{at}.self_attn.{name}.weight"] = torch.ones(size)
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{at}.{name}.weight"] = torch.ones(hidden)
        places = ["mlp"] if layer == 0 else [f"mlp.experts.{i}" for i in range(EXPERTS)] + ["mlp.shared_experts"]
        width = 2 * expert if layer == 0 else expert
        for i, place in enumerate(places):
            for j, name in enumerate(("gate_proj", "up_proj", "down_proj")):
                shape = (hidden, width) if name == "down_proj" else (width, hidden)
                found[f"{at}.{place}.{name}.weight"] = normal(*shape, seed=100 + 10 * i + j)
    found["model.layers.1.mlp.gate.weight"] = normal(EXPERTS, hidden, seed=7)
    found["model.layers.1.mlp.gate.e_score_correction_bias"] = normal(EXPERTS, seed=8)
    return found | {"model.norm.weight": torch.ones(hidden), "lm_head.weight": normal(320, hidden, seed=9)}


def deepseek(folder, variant, shards=1):
    """variant: 'bf16'; 'v3' F32 scales; 'v3.1' powers of two, but one projection; 'v4' E8M0 `.scale`, FP4 experts."""
    tensors = {}
    for name, weight in deepseek_weights().items():
        stem = name.removesuffix(".weight")
        linear = "_proj" in name
        if not linear or variant == "bf16":
            tensors[name] = weight if name.endswith("bias") else weight.bfloat16()
        elif variant == "v4" and ".experts." in name:
            tensors[name], tensors[f"{stem}.scale"] = packed_fp4(weight)
        else:
            kind = "f32" if variant == "v3" else "pow2"
            factor = FACTOR if variant == "v3.1" and "o_proj" in name else 1.0
            codes, scales = block_fp8(weight, kind, factor)
            tensors[name] = codes
            tensors[f"{stem}.scale" if variant == "v4" else f"{stem}.weight_scale_inv"] = (
                (torch.log2(scales) + 127).to(torch.uint8).view(E8M0) if variant == "v4" else scales
            )
    return save(folder, tensors, deepseek_config(variant), shards)


def deepseek_config(variant):
    config = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "hidden_size": 256,
        "intermediate_size": 256,
        "moe_intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "q_lora_rank": 128,
        "kv_lora_rank": 128,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
        "v_head_dim": 64,
        "n_routed_experts": EXPERTS,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
        "vocab_size": 320,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "torch_dtype": "bfloat16",
    }
    if variant != "bf16":
        config["quantization_config"] = {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "weight_block_size": [128, 128],
            "activation_scheme": "dynamic",
        }
    if variant in ("v3.1", "v4"):
        config["quantization_config"]["scale_fmt"] = "ue8m0"
    if variant == "v4":
        config["expert_dtype"] = "fp4"
    return config
