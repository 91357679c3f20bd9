"""A config.json becomes the model that transformers builds from it; what is not known is refused in one line."""

import json
import textwrap

import pytest

from tests.convert.test_loads import python
from xinqiao.size.config import read
from xinqiao.size.families import FAMILIES

BASE = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
HEADS = {"head_dim": 24}
ROUTED = {"n_routed_experts": 6, "num_experts_per_tok": 2, "n_shared_experts": 2, "moe_intermediate_size": 20}
QWEN_ROUTED = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20}
LATENT = {
    "num_key_value_heads": 4,
    "q_lora_rank": 40,
    "kv_lora_rank": 28,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
INDEXED = {"index_n_heads": 3, "index_head_dim": 16, "index_topk": 32}
LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 6,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 12,
    "linear_conv_kernel_dim": 4,
    "full_attention_interval": 3,
}
V4 = {
    "intermediate_size": 20,  # what transformers takes for the experts' own
    "num_key_value_heads": 1,
    "head_dim": 32,
    "q_lora_rank": 24,
    "o_lora_rank": 16,
    "o_groups": 2,
    "qk_rope_head_dim": 8,
    "sliding_window": 16,
    "compress_ratios": [0, 4, 128],
    "num_hash_layers": 1,
    "hc_mult": 4,
}
SAME = [  # model_type, what its configuration says beside BASE
    ("llama", {}),
    ("llama", HEADS | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("mistral", HEADS | {"sliding_window": 32}),
    ("phi3", {"sliding_window": 32}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1}),
    ("qwen3", HEADS),
    ("qwen3", HEADS | {"attention_bias": True}),
    ("glm4", HEADS | {"attention_bias": True}),
    ("gemma2", HEADS | {"sliding_window": 32}),
    ("gemma3_text", HEADS | {"sliding_window": 32, "tie_word_embeddings": True}),
    ("olmo2", {"attention_bias": True}),
    ("ernie4_5", HEADS | {"use_bias": False, "tie_word_embeddings": True}),
    ("hunyuan_v1_dense", HEADS),
    (
        "gpt2",
        {
            "n_embd": 64,
            "n_layer": 3,
            "n_head": 4,
            "n_positions": 256,
            "num_key_value_heads": 4,
            "tie_word_embeddings": True,
        },
    ),
    ("opt", {"ffn_dim": 56, "word_embed_proj_dim": 64, "tie_word_embeddings": True}),
    ("falcon", {"tie_word_embeddings": True}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2, "ffn_hidden_size": 100}),
    ("falcon", {"multi_query": False, "parallel_attn": False, "tie_word_embeddings": True}),
    ("mixtral", {"num_local_experts": 6, "num_experts_per_tok": 2}),
    ("qwen2_moe", QWEN_ROUTED | {"shared_expert_intermediate_size": 28, "mlp_only_layers": [1]}),
    ("qwen3_moe", HEADS | QWEN_ROUTED | {"decoder_sparse_step": 2}),
    ("qwen3_next", HEADS | LINEAR | QWEN_ROUTED | {"shared_expert_intermediate_size": 28}),
    ("qwen3_5_text", HEADS | LINEAR),
    ("qwen3_5_moe_text", HEADS | LINEAR | QWEN_ROUTED | {"shared_expert_intermediate_size": 28}),
    ("glm4_moe", HEADS | ROUTED | {"use_qk_norm": True, "attention_bias": True, "first_k_dense_replace": 2}),
    ("gpt_oss", HEADS | {"num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": 32}),
    (
        "ernie4_5_moe",
        {"moe_num_experts": 6, "moe_k": 2, "moe_intermediate_size": 20, "moe_num_shared_experts": 2}
        | {"moe_layer_start_index": 1, "moe_layer_end_index": 1, "use_bias": False, "tie_word_embeddings": True},
    ),
    ("minimax_m2", HEADS | {"num_local_experts": 6, "num_experts_per_tok": 2}),
    ("hunyuan_v1_moe", HEADS | {"num_experts": 6, "moe_topk": 2}),
    ("deepseek_v2", ROUTED | LATENT | {"q_lora_rank": None}),
    ("deepseek_v2", ROUTED | LATENT),
    ("deepseek_v3", ROUTED | LATENT),
    ("deepseek_v32", ROUTED | LATENT | INDEXED),
    ("glm_moe_dsa", ROUTED | LATENT | INDEXED | {"indexer_types": ["full", "shared", "full"]}),
    ("deepseek_v4", ROUTED | INDEXED | V4 | {"n_shared_experts": 1}),
]
NOT_IN_TRANSFORMERS = {"PanguEmbedded", "PanguProMoE", "pangu_ultra_moe", "kimi_k2"}
SAME_READER = {"qwen3_vl_text": "qwen3", "qwen3_vl_moe_text": "qwen3_moe"}

# Fractions are weights; a table of whole numbers that looks experts up by token is not multiplied with.
ORACLE = textwrap.dedent("""
    import json, sys, torch
    from transformers import AutoConfig, AutoModelForCausalLM
    found = []
    for kind, keys in json.load(open(sys.argv[1])):
        config = AutoConfig.for_model(kind, **keys, pad_token_id=0, bos_token_id=0, eos_token_id=0)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        weights = {n: w.numel() for n, w in model.state_dict().items() if w.is_floating_point()}
        if config.tie_word_embeddings:
            weights.pop("lm_head.weight", None)
        found.append(weights)
    print(json.dumps(found))
""")
WORDS = [  # of a weight's name → part; the first that is there; the rest are norms
    ("hc_head", "streams"),
    ("_hc.", "streams"),
    ("norm", "norms"),
    ("ln_", "norms"),
    ("indexer", "indexer"),
    ("embed", "embedding"),
    ("wte", "embedding"),
    ("wpe", "embedding"),
    ("lm_head", "head"),
    ("shared", "shared"),
    ("mlp.experts", "experts"),
    ("mlp.gate.", "router"),
    ("e_score_correction_bias", "router"),
    ("mlp.router", "router"),
    ("mlp", "mlp"),
    (".fc", "mlp"),
    ("attn", "attention"),
    ("attention", "attention"),
]


def part(name):
    return next(found for word, found in WORDS if word in name)


def by_part(weights):
    found = {}
    for name, count in weights.items():
        found[part(name)] = found.get(part(name), 0) + count
    return found


def written(folder, keys):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(keys))
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What transformers builds of each configuration: part → parameters."""
    file = tmp_path_factory.mktemp("oracle") / "cases.json"
    file.write_text(json.dumps([(kind, BASE | keys) for kind, keys in SAME]))
    return [by_part(weights) for weights in json.loads(python(ORACLE, file))]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("row", range(len(SAME)), ids=[f"{i}-{kind}" for i, (kind, _) in enumerate(SAME)])
def test_every_part_has_as_many_parameters_as_in_transformers(built, row, tmp_path):
    kind, keys = SAME[row]
    model = read(written(tmp_path / "model", BASE | keys | {"model_type": kind}))
    ours = {m.part: model.parameters(m.part) for m in model.matrices()}
    assert ours == built[row]


def test_every_architecture_is_compared():
    assert {kind for kind, _ in SAME} | NOT_IN_TRANSFORMERS | set(SAME_READER) == set(FAMILIES)
    assert all(FAMILIES[kind] is FAMILIES[compared] for kind, compared in SAME_READER.items())
