"""A config.json becomes the model that transformers builds from it; what is not known is refused in one line."""

import json
import re

import pytest

from tests.size.oracle import built, ours
from xinqiao.errors import InputError
from xinqiao.size.config import from_keys, read
from xinqiao.size.families import FAMILIES
from xinqiao.size.keys import Keys

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


def written(folder, keys):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(keys))
    return folder


@pytest.fixture(scope="module")
def transformers(tmp_path_factory):
    return built(tmp_path_factory.mktemp("oracle"), [(kind, BASE | keys) for kind, keys in SAME])


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("row", range(len(SAME)), ids=[f"{i}-{kind}" for i, (kind, _) in enumerate(SAME)])
def test_every_part_has_as_many_parameters_as_in_transformers(transformers, row, tmp_path):
    (kind, keys), (meant, saved) = SAME[row], transformers[row]
    model = read(written(tmp_path / "model", BASE | keys | {"model_type": kind}))
    assert ours(model) == meant
    assert read(written(tmp_path / "model", saved)).layers == model.layers


def test_every_architecture_is_compared():
    assert {kind for kind, _ in SAME} | NOT_IN_TRANSFORMERS | set(SAME_READER) == set(FAMILIES)
    assert all(FAMILIES[kind] is FAMILIES[compared] for kind, compared in SAME_READER.items())


LATENT_V4 = ROUTED | INDEXED | V4
KINDS = [  # model_type, its keys, what each kind of layer has that the others have not
    ("mistral", {"sliding_window": 32}, [{"count": 3, "window": 32}]),
    ("mistral", {"sliding_window": None}, [{"count": 3, "window": 0}]),
    ("qwen2", {"use_sliding_window": False, "sliding_window": 32}, [{"count": 3, "window": 0}]),
    (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1},
        [{"count": 1, "window": 0}, {"count": 2, "window": 32}],
    ),
    ("gemma2", HEADS | {"sliding_window": 32}, [{"count": 2, "window": 32}, {"count": 1, "window": 0}]),
    (
        "gemma3_text",
        HEADS | {"sliding_window": 32, "num_hidden_layers": 13},
        [{"count": 11, "window": 32}, {"count": 2, "window": 0}],
    ),
    (
        "gpt_oss",
        {"num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": 32}
        | {"layer_types": ["full_attention", "full_attention", "sliding_attention"]},
        [{"count": 2, "window": 0}, {"count": 1, "window": 32}],
    ),
    ("qwen3_5_text", HEADS | LINEAR, [{"count": 2, "conv": 4, "kv_heads": 2}, {"count": 1, "conv": 0, "kv_heads": 2}]),
    (
        "deepseek_v32",
        ROUTED | LATENT | INDEXED,
        [{"count": 1, "kv_heads": 1, "head_dim": 24, "rope_dim": 8}, {"count": 2, "index_top_k": 32, "kv_rank": 28}],
    ),
    (
        "glm_moe_dsa",
        ROUTED | LATENT | INDEXED | {"first_k_dense_replace": 0, "indexer_types": ["full", "shared", "shared"]},
        [{"count": 1, "index_shared": False}, {"count": 2, "index_shared": True, "index_top_k": 32}],
    ),
    (
        "deepseek_v4",
        LATENT_V4,
        [
            {"count": 1, "window": 16, "compress": 0, "index_top_k": 0},
            {"count": 1, "window": 16, "compress": 4, "index_top_k": 32},
            {"count": 1, "window": 16, "compress": 128, "index_top_k": 0},
        ],
    ),
]


@pytest.mark.parametrize(("kind", "keys", "kinds"), KINDS)
def test_kinds_of_layers(kind, keys, kinds, tmp_path):
    model = read(written(tmp_path / "model", BASE | keys | {"model_type": kind}))
    assert len(model.layers) == len(kinds)
    for layer, meant in zip(model.layers, kinds, strict=True):
        found = {key: layer.count if key == "count" else getattr(layer.attention, key) for key in meant}
        assert found == meant


def test_the_mtp_layer_of_v4_is_not_compressed(tmp_path):
    """A window alone: no compressor and no indexer; its experts are chosen by score."""
    keys = BASE | LATENT_V4 | {"model_type": "deepseek_v4", "num_nextn_predict_layers": 1}
    model = read(written(tmp_path / "model", keys))
    found = {m.name: m for m in model.matrices() if m.part == "mtp"}
    assert not [name for name in found if "compressor" in name or "indexer" in name]
    assert found["projection"][2:] == (64, 128, 1)
    assert found["router.router.bias"].n == 6


GROUPS = {"group_0": {"weights": {"num_bits": 4, "type": "int"}}}
FP8 = {"group_0": {"weights": {"num_bits": 8, "type": "float"}}}
FORMATS = [  # what config.json says beside a plain bf16 model → format, and of all but routed experts
    ({}, "bf16", ""),
    ({"torch_dtype": None, "dtype": "float16"}, "fp16", ""),
    ({"torch_dtype": "float4"}, "", ""),
    ({"quantization_config": {"quant_method": "fp8"}}, "fp8", ""),
    ({"quantization_config": {"quant_method": "fp8"}, "expert_dtype": "fp4"}, "mxfp4", "fp8"),
    ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "int4", ""),
    ({"quantization_config": {"quant_method": "awq", "bits": 3}}, "", ""),
    ({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": FP8}}, "fp8", ""),
    ({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": 1}}, "", ""),
    (
        {"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}},
        "mxfp4",
        "bf16",
    ),
    (
        {
            "quantization_config": {
                "quant_method": "compressed-tensors",
                "config_groups": GROUPS,
                "ignore": ["lm_head", "re:.*self_attn.*"],
            }
        },
        "int4",
        "bf16",
    ),
    ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "nvfp4", ""),
    ({"quantization_config": {"quant_method": "fp8", "quant_algo": "MIXED_PRECISION"}}, "", ""),
    ({"quantization_config": {"quant_method": "new"}}, "", ""),
]


@pytest.mark.parametrize(("keys", "stored", "rest"), FORMATS)
def test_number_format(keys, stored, rest, tmp_path):
    model = read(written(tmp_path / "model", BASE | {"model_type": "llama", "torch_dtype": "bfloat16"} | keys))
    assert (model.stored, model.stored_rest) == (stored, rest)


def test_number_format_that_stands_beside_the_configuration(tmp_path):
    folder = written(tmp_path / "model", BASE | {"model_type": "llama", "torch_dtype": "bfloat16"})
    (folder / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8"}}')
    assert read(folder).stored == "fp8"


def test_a_model_that_also_sees_is_read_without_its_eyes(tmp_path):
    text = BASE | {"model_type": "qwen3", "head_dim": 16}
    keys = {"model_type": "some_vl", "text_config": text, "vision_config": {"depth": 2}, "torch_dtype": "bfloat16"}
    model, plain = read(written(tmp_path / "sees", keys)), read(written(tmp_path / "plain", text))
    assert model.note == "only the language model of some_vl: no vision or sound encoder"
    assert model.matrices() == plain.matrices()
    assert (model.stored, plain.stored, plain.note) == ("bf16", "", "")


def test_a_model_is_named_after_its_folder_or_file(tmp_path):
    folder = written(tmp_path / "my-model", BASE | {"model_type": "llama"})
    (tmp_path / "other.json").write_text((folder / "config.json").read_text())
    assert read(folder).name == read(folder / "config.json").name == "my-model"
    assert read(tmp_path / "other.json").name == "other"


TRACED = "`xinqiao size SCRIPT.py --chip NAME` traces any PyTorch program"
V3 = ROUTED | LATENT | {"model_type": "deepseek_v3"}
REFUSED = [  # keys, what is said after '<file>: '
    ({}, f"model_type: missing: it says which architecture this is; {TRACED}"),
    ({"model_type": "lama"}, f"model_type: the architecture 'lama' is not known; did you mean llama, glm4; {TRACED}"),
    ({"model_type": "bert"}, f"model_type: the architecture 'bert' is not known; {TRACED}"),
    ({"model_type": ["llama"]}, 'model_type: ["llama"] is not a word'),
    (
        {"model_type": "x", "text_config": {}},
        f"text_config: model_type: missing: it says which architecture this is; {TRACED}",
    ),
    ({"model_type": "x", "text_config": 3}, "text_config: 3 is not a table"),
    ({"model_type": "llama", "hidden_size": None}, "hidden_size: missing"),
    ({"model_type": "llama", "hidden_size": 64.5}, "hidden_size: 64.5 is not a whole number"),
    ({"model_type": "llama", "hidden_size": float("nan")}, "hidden_size: NaN is not a whole number"),
    ({"model_type": "llama", "hidden_size": True}, "hidden_size: true is not a whole number"),
    ({"model_type": "llama", "vocab_size": "32000"}, 'vocab_size: "32000" is not a whole number'),
    ({"model_type": "llama", "vocab_size": 0}, "vocab_size: 0 is not within 1 to 16777216"),
    ({"model_type": "llama", "num_hidden_layers": 10**9}, "num_hidden_layers: 1000000000 is not within 1 to 1024"),
    ({"model_type": "llama", "num_hidden_layers": -1}, "num_hidden_layers: -1 is not within 1 to 1024"),
    ({"model_type": "llama", "num_key_value_heads": 3}, "num_key_value_heads: 3 does not divide 4 query heads"),
    ({"model_type": "llama", "hidden_size": 66}, "head_dim: missing, and 4 heads do not divide the hidden width 66"),
    ({"model_type": "llama", "tie_word_embeddings": 1}, "tie_word_embeddings: 1 is not true or false"),
    ({"model_type": "llama", "quantization_config": "fp8"}, 'quantization_config: "fp8" is not a table'),
    ({"model_type": "gemma2"}, "sliding_window: missing"),
    (
        {"model_type": "mistral", "layer_types": ["full_attention"]},
        "layer_types: not a list with one entry for each of 3 layers",
    ),
    (
        {"model_type": "mistral", "layer_types": ["full_attention", "chunked_attention", "full_attention"]},
        'layer_types: "chunked_attention" is not one of full_attention, sliding_attention',
    ),
    (
        {"model_type": "mistral", "layer_types": ["sliding_attention"] * 3},
        "sliding_window: missing, while layer_types has sliding layers",
    ),
    (QWEN_ROUTED | {"model_type": "qwen3_moe", "num_experts_per_tok": 7}, "num_experts_per_tok: 7 of 6 experts"),
    (
        QWEN_ROUTED | {"model_type": "qwen3_moe", "mlp_only_layers": ["1"]},
        'mlp_only_layers: ["1"] is not a list of layers\' numbers',
    ),
    (V3 | {"moe_layer_freq": 2}, "moe_layer_freq: 2 is not known for this architecture; known: 1"),
    (V3 | {"attention_bias": True}, "attention_bias: true is not known for this architecture; known: false"),
    (V3 | {"kv_lora_rank": None}, "kv_lora_rank: missing"),
    (
        {"model_type": "hunyuan_v1_moe", "num_experts": 6, "moe_topk": [2, 2, 1]},
        "moe_topk: differs from layer to layer, which is not read here",
    ),
    (LATENT_V4 | {"model_type": "deepseek_v4", "o_groups": 3}, "o_groups: 3 groups do not divide 4 heads"),
    (
        LATENT_V4 | {"model_type": "deepseek_v4", "compress_ratios": [0, 4, 16]},
        "compress_ratios: 16 is not one of 0, 4, 128",
    ),
]


@pytest.mark.parametrize(("keys", "said"), REFUSED)
def test_refused(keys, said, tmp_path):
    folder = written(tmp_path / "model", BASE | keys)
    with pytest.raises(InputError) as caught:
        read(folder)
    assert str(caught.value) == f"{folder / 'config.json'}: {said}"


STRANGE = [None, True, -1, 0, 1.5, 10**30, "x", "", [], [1], [[]], {}, {"x": {}}, [{"a": 1}]]


@pytest.mark.parametrize(("kind", "keys"), SAME)
def test_a_strange_value_of_any_key_is_refused_in_one_line_or_changes_nothing_else(kind, keys):
    """No value of one key ends in anything but a model or an InputError."""
    whole = BASE | keys | {"model_type": kind, "layer_types": None, "quantization_config": None, "torch_dtype": None}
    for key in [*whole, "mlp_only_layers", "indexer_types", "mlp_layer_types", "text_config", "expert_dtype"]:
        for value in STRANGE:
            try:
                model = from_keys(Keys(whole | {key: value}, "config.json"), name="x", source="x")
            except InputError as error:
                assert re.fullmatch(r"config\.json: [ -~…]+", str(error))
            else:
                assert model.parameters() > 0


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize(
    "key", ["quant_method", "quant_algo", "bits", "config_groups", "modules_to_not_convert", "ignore"]
)
def test_a_strange_number_format_is_unknown(key, value):
    for method in ("fp8", "awq", "compressed-tensors"):
        settings = {"quant_method": method, "config_groups": GROUPS, key: value}
        keys = BASE | {"model_type": "llama", "quantization_config": settings}
        assert from_keys(Keys(keys, "config.json"), name="x", source="x").stored in ("fp8", "int4", "")


FILES = [  # what the file holds, what is said
    (b"{" * 100_000, "not JSON"),
    (b'{"hidden_size": ' + b"9" * 5000 + b"}", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b"[1, 2]", "not a table of keys but [1, 2]"),
    (b" " * (1 << 20) + b"{}", "larger than 1 MB; a model's config.json is far smaller"),
]


@pytest.mark.parametrize(("data", "said"), FILES)
def test_files_that_are_not_configurations(data, said, tmp_path):
    file = tmp_path / "config.json"
    file.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file}: {said}")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_configuration(tmp_path):
    with pytest.raises(InputError, match=r"has no config\.json; name a checkpoint's folder or its config\.json$"):
        read(tmp_path)
