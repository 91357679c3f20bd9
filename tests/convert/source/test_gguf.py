"""GGUF files: names, order of rows, configuration, parts and tokenizers, as those who wrote the model meant them."""

import json
import math

import gguf
import numpy as np
import pytest

from xinqiao.convert.source import open_checkpoint
from xinqiao.errors import InputError

HIDDEN, HEADS, KV_HEADS = 64, 4, 2
PLAIN = {"attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "attn_output": (64, 64), "attn_norm": (64,)}
DENSE = {"ffn_gate": (96, 64), "ffn_up": (96, 64), "ffn_down": (64, 96), "ffn_norm": (64,)}
EXPERTS = {"ffn_gate_inp": (3, 64), "ffn_gate_exps": (3, 32, 64), "ffn_up_exps": (3, 32, 64), "ffn_norm": (64,)}
EXPERTS |= {"ffn_down_exps": (3, 64, 32), "attn_q_norm": (16,), "attn_k_norm": (16,)}


def stretched(factor, base=500000.0, count=8):
    """The divisors of frequencies that models with 'llama3' scaling have; from its definition, wave by wave."""
    found = []
    for i in range(count):
        wave = 2 * math.pi * base ** (i / count)
        if wave < 8192 / 4:
            found.append(1.0)
        elif wave > 8192 / 1:
            found.append(factor)
        else:
            smooth = (8192 / wave - 1) / (4 - 1)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(found, dtype=np.float32)


def written(path, architecture="llama", blocks=PLAIN | DENSE, layers=2, add=(), extra=None):
    """A small model as the format's own library writes it. add: calls of its writer."""
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(layers)
    writer.add_embedding_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    for name, *arguments in add:
        getattr(writer, name)(*arguments)
    chance = np.random.default_rng(0)
    shapes = {"token_embd.weight": (50, HIDDEN), "output_norm.weight": (HIDDEN,)}
    shapes |= {f"blk.{i}.{name}.weight": shape for i in range(layers) for name, shape in blocks.items()}
    arrays = {name: chance.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    for name, array in (arrays | (extra or {})).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return arrays


def opened(path):
    return open_checkpoint(path, allow_pickle=False, scratch=None)


def values(entry):
    return np.fromfile(entry.file, dtype=np.float32, count=entry.nbytes // 4, offset=entry.offset).reshape(entry.shape)


def test_names_and_heads(tmp_path):
    arrays = written(tmp_path / "model.gguf")
    found = opened(tmp_path)
    entries = found.entries
    assert entries["model.layers.1.self_attn.q_proj.weight"].permute == HEADS
    assert entries["model.layers.1.self_attn.k_proj.weight"].permute == KV_HEADS
    assert {e.permute for n, e in entries.items() if "q_proj" not in n and "k_proj" not in n} == {0}
    assert (values(entries["model.layers.1.mlp.down_proj.weight"]) == arrays["blk.1.ffn_down.weight"]).all()
    assert found.config["tie_word_embeddings"] is True
    assert (found.config["rms_norm_eps"], found.config["rope_theta"], found.config["vocab_size"]) == (1e-5, 5e5, 50)


def test_experts_are_tensors_of_their_own(tmp_path):
    counts = [("add_expert_count", 3), ("add_expert_used_count", 2), ("add_expert_feed_forward_length", 32)]
    arrays = written(tmp_path / "model.gguf", "qwen3moe", PLAIN | EXPERTS, add=counts)
    found = opened(tmp_path)
    for part in ("gate", "up", "down"):
        for i in range(3):
            entry = found.entries[f"model.layers.0.mlp.experts.{i}.{part}_proj.weight"]
            assert (values(entry) == arrays[f"blk.0.ffn_{part}_exps.weight"][i]).all()
    assert found.config["num_experts"] == 3
    assert "model.layers.0.mlp.gate.weight" in found.entries


YARN = [("add_rope_scaling_type", gguf.RopeScalingType.YARN), ("add_rope_scaling_factor", 4.0)]
ROPE = {  # what the file has → (calls of the writer, further tensors, config.json's words)
    "nothing": ([], {}, None),
    "linear": (
        [("add_rope_scaling_type", gguf.RopeScalingType.LINEAR), ("add_rope_scaling_factor", 2.0)],
        {},
        {"rope_type": "linear", "factor": 2.0},
    ),
    "yarn": (
        [*YARN, ("add_rope_scaling_orig_ctx_len", 32768)],
        {},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    ),
    "factors of each frequency": (
        [],
        {"rope_freqs.weight": stretched(32.0)},
        {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    ),
}


@pytest.mark.parametrize("name", ROPE)
def test_longer_contexts(name, tmp_path):
    add, extra, words = ROPE[name]
    written(tmp_path / "model.gguf", add=add, extra=extra)
    assert opened(tmp_path).config.get("rope_scaling") == words


ONES = np.ones(8, dtype=np.float32)
REFUSED = {  # what the file has → (how it is written, words of the message)
    "factors of no known rule": ({"extra": {"rope_freqs.weight": ONES * 3}}, "not the factors of a known rule"),
    "a scaling of another kind": (
        {"add": [("add_rope_scaling_type", gguf.RopeScalingType.LONGROPE)]},
        "rope.scaling.type 'longrope'",
    ),
    "a layer too few": ({"add": [("add_uint32", "llama.block_count", 3)]}, "has 2 layers, and its metadata say 3"),
    "an unknown tensor": ({"extra": {"blk.0.attn_sinks.weight": ONES}}, "no such tensor"),
    "an unknown tensor on top": ({"extra": {"position_embd.weight": ONES}}, "no such tensor"),
    "a bias in another order of rows": ({"extra": {"blk.0.attn_q.bias": np.ones(64, np.float32)}}, "heads of rows"),
    "heads that do not divide": ({"add": [("add_uint32", "llama.attention.head_count", 5)]}, "not 5 heads of rows"),
    "no heads": ({"add": [("add_uint32", "llama.attention.head_count", 0)]}, "not 0 heads of rows"),
    "heads by layer": ({"add": [("add_array", "llama.attention.head_count", [4, 2])]}, "heads of rows"),
    "a name that goes on": ({"extra": {"blk.0.attn_v.weight\nx": ONES}}, "no such tensor"),
    "a width by layer": ({"add": [("add_array", "llama.feed_forward_length", [96, 96])]}, "needs a whole number"),
    "an infinite scaling": (
        {"add": [YARN[0], ("add_rope_scaling_factor", math.inf)]},
        "factor inf",
    ),
    "experts of a dense kind": ({"blocks": PLAIN | EXPERTS}, "no such tensor"),
    "another architecture": ({"architecture": "gemma3"}, "the architecture 'gemma3' is not known"),
    "one part of three": ({"add": [("add_uint16", "split.count", 3)]}, "one of 3 parts"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    how, words = REFUSED[name]
    written(tmp_path / "model.gguf", **how)
    with pytest.raises(InputError) as caught:
        opened(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_type_that_is_not_read_is_named(tmp_path):
    path = tmp_path / "model.gguf"
    written(path)
    data = path.read_bytes()
    at = data.index(b"blk.0.ffn_up.weight") + len("blk.0.ffn_up.weight") + 4 + 2 * 8
    path.write_bytes(data[:at] + (23).to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(InputError, match=r"ffn_up\.weight.*IQ4_XS is not read"):
        opened(path)


def test_a_model_in_parts(tmp_path):
    """Each part has tensors of its own; the first has the metadata."""
    first, second = (tmp_path / f"m-0000{i}-of-00002.gguf" for i in (1, 2))
    written(first, blocks=PLAIN, add=[("add_uint16", "split.count", 2)])
    writer = gguf.GGUFWriter(str(second), "llama")
    for i in range(2):
        for name, shape in DENSE.items():
            writer.add_tensor(f"blk.{i}.{name}.weight", np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert len(opened(tmp_path).entries) == 2 + 2 * (len(PLAIN) + len(DENSE))
    with pytest.raises(InputError, match="give the first"):
        open_checkpoint(first.rename(tmp_path / "renamed.gguf"), allow_pickle=False, scratch=None)


TOKENS = [("add_tokenizer_model", "gpt2"), ("add_tokenizer_pre", "llama-bpe"), ("add_bos_token_id", 2)]
TOKENS += [
    ("add_token_list", ["a", "b", "<s>", "ab"]),
    ("add_token_merges", ["a b"]),
    ("add_token_types", [1, 1, 3, 1]),
]


@pytest.mark.parametrize(("add", "first"), [([], True), ([("add_add_bos_token", False)], False)])
def test_tokenizer(add, first, tmp_path):
    written(tmp_path / "model.gguf", add=[*TOKENS, *add])
    made = json.loads(opened(tmp_path).texts["tokenizer.json"])
    assert made["model"]["vocab"] == {"a": 0, "b": 1, "<s>": 2, "ab": 3}
    assert made["model"]["merges"] == ["a b"]
    assert [(token["content"], token["special"]) for token in made["added_tokens"]] == [("<s>", True)]
    assert ("TemplateProcessing" in json.dumps(made["post_processor"])) == first
