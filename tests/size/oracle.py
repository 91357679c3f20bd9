"""transformers as the oracle: how many parameters it builds of a configuration, part by part. Nothing is allocated."""

import json
import textwrap

from tests.convert.test_loads import python

# Fractions are weights; a table of whole numbers that looks experts up by token is not multiplied with.
PROGRAM = textwrap.dedent("""
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
        found.append((weights, json.loads(config.to_json_string())))
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


def built(folder, configurations):
    """part → parameters, and config.json as transformers saves it, of each (model_type, its other keys)."""
    file = folder / "configurations.json"
    file.write_text(json.dumps(configurations))
    return [(by_part(weights), saved) for weights, saved in json.loads(python(PROGRAM, file))]


def ours(model):
    """The same of a model, without the layers for multi-token prediction, which transformers does not build."""
    return {m.part: model.parameters(m.part) for m in model.matrices() if m.part != "mtp"}
