"""Converted checkpoints load in transformers on a CPU, and compute what their rounding allows."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.convert.models import llama
from tests.convert.running import run, run_all

pytestmark = [pytest.mark.real, pytest.mark.slow]

BUILD = textwrap.dedent("""
    import sys, torch
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM
    torch.manual_seed(0)
    common = dict(hidden_size=256, num_hidden_layers=2, num_attention_heads=4, vocab_size=320, dtype=torch.bfloat16)
    llama = LlamaConfig(intermediate_size=384, num_key_value_heads=2, **common)
    LlamaForCausalLM(llama).to(torch.bfloat16).save_pretrained(sys.argv[1] + "/llama")
    LlamaForCausalLM(LlamaConfig(intermediate_size=384, num_key_value_heads=2, tie_word_embeddings=True, **common)).to(
        torch.bfloat16).save_pretrained(sys.argv[1] + "/tied")
    mixture = DeepseekV3Config(
        intermediate_size=256, moe_intermediate_size=128, num_key_value_heads=4, q_lora_rank=128, kv_lora_rank=128,
        qk_nope_head_dim=64, qk_rope_head_dim=32, v_head_dim=64, n_routed_experts=4, n_shared_experts=1,
        num_experts_per_tok=4, first_k_dense_replace=1, n_group=1, topk_group=1, **common)
    DeepseekV3ForCausalLM(mixture).to(torch.bfloat16).save_pretrained(sys.argv[1] + "/deepseek")
""")
LOAD = textwrap.dedent("""
    import json, sys, torch
    from transformers import AutoModelForCausalLM
    ids = torch.arange(16)[None]
    found = {}
    for folder in sys.argv[1:]:
        model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        with torch.no_grad():
            logits = model.eval()(ids).logits.float()
        meant = logits if not found else meant
        noise = (logits - meant).square().sum().clamp_min(1e-9)
        found[folder] = {
            "db": (10 * torch.log10(meant.square().sum() / noise)).item(),
            "tokens": model.generate(ids, max_new_tokens=4, do_sample=False).shape[1],
            "unexpected": sorted(info["unexpected_keys"]),
            "missing": sorted(info["missing_keys"]),
        }
    print(json.dumps(found))
""")
LOADS = [  # model, layout, least dB of the logits: two layers add their weights' and activations' rounding
    ("llama", "bf16", 40),
    ("llama", "fp16", 40),
    ("llama", "fp8-block", 22),
    ("llama", "fp8-ue8m0", 22),
    ("llama", "fp8-ue8m0-v4", 22),
    ("llama", "mxfp8", 20),
    ("llama", "mxfp4", 8),
    ("llama", "int8-channel", 30),
    ("tied", "fp8-block", 22),
    ("tied", "mxfp8", 20),
    ("tied", "int8-channel", 30),
    ("deepseek", "bf16", 40),
    ("deepseek", "fp16", 35),
    ("deepseek", "fp8-block", 20),
    ("deepseek", "fp8-ue8m0", 20),
    ("deepseek", "fp8-ue8m0-v4", 20),
    ("deepseek", "mxfp4", 8),
]


# The index's torchvision is for another build of PyTorch; transformers does without it.
WITHOUT_TORCHVISION = "import sys; sys.modules['torchvision'] = None\n"


def python(text, *words):
    environment = os.environ | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, "-W", "ignore", "-c", WITHOUT_TORCHVISION + text, *map(str, words)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """(model, layout) → what transformers said; one process for each model."""
    folder = tmp_path_factory.mktemp("loads")
    python(BUILD, folder)
    found = {}
    for model in ("llama", "tied", "deepseek"):
        layouts = [layout for name, layout, _ in LOADS if name == model]
        run_all(
            *(("convert", folder / model, "--to", layout, "--out", folder / f"{model}-{layout}") for layout in layouts)
        )
        rows = json.loads(python(LOAD, folder / model, *(folder / f"{model}-{layout}" for layout in layouts)))
        found |= {(model, layout): rows[str(folder / f"{model}-{layout}")] for layout in layouts}
    return found


@pytest.mark.parametrize(("model", "layout", "least"), LOADS)
def test_loads_and_generates(model, layout, least, loaded):
    row = loaded[model, layout]
    assert row["db"] > least
    assert row["tokens"] == 20
    assert not row["missing"]
    assert not row["unexpected"]


READ = textwrap.dedent("""
    import glob, json, sys, torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig
    from safetensors.torch import load_file
    name = "model.layers.0.mlp.up_proj"
    def tensors(folder):
        return {key: t for file in glob.glob(folder + "/*.safetensors") for key, t in load_file(file).items()}
    for folder in sys.argv[1:]:
        config = json.load(open(folder + "/config.json"))["quantization_config"]
        found = QuantizationConfig.model_validate(config)
        group = found.config_groups["group_0"]
        of_module = {key[len(name) + 1:]: t for key, t in tensors(folder).items() if key.startswith(name)}
        values = BaseCompressor.get_value_from_registry(found.format).decompress(of_module, group)["weight"]
        meant = tensors(folder + "-bf16")[name + ".weight"]
        print(found.format, group.targets, found.ignore, torch.equal(values.to(torch.bfloat16), meant))
""")


def test_compressed_tensors_reads_configurations_and_values(tmp_path):
    """Its own decompressors give what this package's bf16 gives, to the bit."""
    source = llama(tmp_path / "source")
    formats = {"mxfp8": "mxfp8-quantized", "mxfp4": "mxfp4-pack-quantized", "int8-channel": "int-quantized"}
    for layout in formats:
        run("convert", source, "--to", layout, "--out", tmp_path / layout)
        run("convert", tmp_path / layout, "--to", "bf16", "--out", tmp_path / f"{layout}-bf16")
    said = python(READ, *(tmp_path / layout for layout in formats)).splitlines()
    assert said == [f"{name} ['Linear'] ['lm_head'] True" for name in formats.values()]
