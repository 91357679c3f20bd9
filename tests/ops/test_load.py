"""`xinqiao.load`: every format into its own layers, mapped, tied, and with transformers' own logits."""

import json
import shutil
import textwrap

import pytest

import xinqiao
from tests.convert.running import run_all
from tests.convert.test_loads import python
from xinqiao.errors import InputError

pytestmark = [pytest.mark.real, pytest.mark.slow]

BUILD = textwrap.dedent("""
    import sys, torch
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM, LlamaConfig, LlamaForCausalLM
    torch.manual_seed(0)
    sizes = dict(hidden_size=256, num_hidden_layers=2, num_attention_heads=4, vocab_size=320, dtype=torch.bfloat16)
    def save(kind, config, name):
        kind(config).to(torch.bfloat16).save_pretrained(sys.argv[1] + "/" + name)
    dense = dict(intermediate_size=384, num_key_value_heads=2, **sizes)
    save(LlamaForCausalLM, LlamaConfig(attention_bias=True, **dense), "llama")
    save(LlamaForCausalLM, LlamaConfig(tie_word_embeddings=True, **dense), "tied")
    save(DeepseekV3ForCausalLM, DeepseekV3Config(
        intermediate_size=256, moe_intermediate_size=128, num_key_value_heads=4, q_lora_rank=128, kv_lora_rank=128,
        qk_nope_head_dim=64, qk_rope_head_dim=128, v_head_dim=64, n_routed_experts=4, n_shared_experts=1,
        num_experts_per_tok=4, first_k_dense_replace=1, n_group=1, topk_group=1, **sizes), "deepseek")
""")
LOAD = textwrap.dedent("""
    import json, sys, torch, xinqiao
    from transformers import AutoModelForCausalLM
    ids = torch.arange(16)[None]
    def logits(model):
        with torch.no_grad():
            return model(ids).logits.float()
    def db(found, meant):
        return (10 * torch.log10(meant.square().sum() / (found - meant).square().sum().clamp_min(1e-9))).item()
    def mapped(tensor):
        spans = [line.split() for line in open("/proc/self/maps") if ".safetensors" in line]
        ends = [[int(x, 16) for x in span[0].split("-")] for span in spans]
        return any(a <= tensor.data_ptr() < b for a, b in ends)
    source = logits(AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval())
    found = {}
    for folder in sys.argv[2:]:
        model = xinqiao.load(folder)
        own = logits(model)
        theirs = None
        if not ("deepseek" in folder and ("mxfp8" in folder or "int8" in folder)):  # transformers does not read these
            theirs = db(own, logits(AutoModelForCausalLM.from_pretrained(folder).eval()))
        layer = model.model.layers[1]
        projection = layer.self_attn.o_proj
        experts = getattr(layer.mlp, "experts", None)
        found[folder] = {
            "theirs": theirs,
            "source": db(own, source),
            "layer": type(projection).__name__,
            "codes": str(projection.weight.dtype),
            "experts": str(experts.gate_up_proj.dtype) if experts is not None else "",
            "mapped": mapped(projection.weight) and mapped(model.model.embed_tokens.weight),
            "tied": model.lm_head.weight is model.model.embed_tokens.weight,
            "tokens": model.generate(ids, max_new_tokens=3, do_sample=False).shape[1],
        }
    print(json.dumps(found))
""")
# transformers on a CPU decodes FP8 weights to bf16: exactly where scales are powers of two, else rounded, codes and
# scales both, by 2^-9. Of MXFP8 it rounds activations too, to three bits of mantissa, and of INT8 in another precision.
EXACT, ROUNDED, ACTIVATIONS, SEVEN_BITS = 60, 38, 22, 28
SIXTEEN, EIGHT, INT8 = 40, 20, 28  # least dB against the source's bf16
ROWS = [  # model, layout, layer, codes, dB against transformers (None: it does not read it), dB against the source
    ("llama", "bf16", "Linear", "bfloat16", EXACT, SIXTEEN),
    ("llama", "fp16", "Linear", "float16", EXACT, SIXTEEN),
    ("llama", "fp8-block", "Fp8Linear", "float8_e4m3fn", ROUNDED, EIGHT),
    ("llama", "fp8-ue8m0", "Fp8Linear", "float8_e4m3fn", EXACT, EIGHT),
    ("llama", "fp8-ue8m0-v4", "Fp8Linear", "float8_e4m3fn", EXACT, EIGHT),
    ("llama", "mxfp8", "Fp8Linear", "float8_e4m3fn", ACTIVATIONS, EIGHT),
    ("llama", "int8-channel", "Int8Linear", "int8", SEVEN_BITS, INT8),
    ("tied", "bf16", "Linear", "bfloat16", EXACT, SIXTEEN),
    ("tied", "fp8-ue8m0", "Fp8Linear", "float8_e4m3fn", EXACT, EIGHT),
    ("tied", "mxfp8", "Fp8Linear", "float8_e4m3fn", ACTIVATIONS, EIGHT),
    ("tied", "int8-channel", "Int8Linear", "int8", SEVEN_BITS, INT8),
    # experts' sums are rounded to bf16 at other places than transformers' grouped products
    ("deepseek", "bf16", "Linear", "bfloat16", SIXTEEN, SIXTEEN),
    ("deepseek", "fp8-block", "Fp8Linear", "float8_e4m3fn", ROUNDED, EIGHT),
    ("deepseek", "fp8-ue8m0", "Fp8Linear", "float8_e4m3fn", SIXTEEN, EIGHT),
    ("deepseek", "fp8-ue8m0-v4", "Fp8Linear", "float8_e4m3fn", SIXTEEN, EIGHT),
    ("deepseek", "mxfp8", "Fp8Linear", "float8_e4m3fn", None, EIGHT),
    ("deepseek", "int8-channel", "Int8Linear", "int8", None, INT8),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("load")
    python(BUILD, folder)
    run_all(*(("convert", folder / m, "--to", to, "--out", folder / f"{m}-{to}") for m, to, *_ in ROWS))
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    """(model, layout) → what one process found."""
    found = {}
    for model in ("llama", "tied", "deepseek"):
        layouts = [layout for name, layout, *_ in ROWS if name == model]
        rows = json.loads(python(LOAD, folder / model, *(folder / f"{model}-{layout}" for layout in layouts)))
        found |= {(model, layout): rows[str(folder / f"{model}-{layout}")] for layout in layouts}
    return found


@pytest.mark.parametrize(("model", "layout", "layer", "codes", "theirs", "source"), ROWS)
def test_loads(model, layout, layer, codes, theirs, source, loaded):
    row = loaded[model, layout]
    assert (row["layer"], row["codes"]) == (layer, f"torch.{codes}")
    assert row["experts"] == (f"torch.{codes}" if model == "deepseek" else "")
    assert row["source"] > source
    assert theirs is None or row["theirs"] > theirs
    assert row["mapped"]
    assert row["tied"] == (model == "tied")
    assert row["tokens"] == 19


CHIP = textwrap.dedent("""
    import sys, torch, xinqiao
    ids = torch.arange(16)[None]
    with torch.no_grad():
        host = xinqiao.load(sys.argv[1])
        model = xinqiao.load(sys.argv[1], chip=sys.argv[2])
        for each in (host, model):
            each.set_attn_implementation("eager")  # PyTorch's fused attention is another on every device
        host, there = host(ids).logits, model(ids.to(model.device)).logits
    print(model.device.type, torch.equal(host, there.cpu()))
""")


@pytest.mark.parametrize(("chip", "layout"), [("ascend-910c", "int8-channel"), ("ascend-950pr", "fp8-ue8m0")])
def test_a_chip_computes_the_same(chip, layout, folder):
    assert python(CHIP, folder / f"llama-{layout}", chip).split() == ["npu", "True"]


MEANT = textwrap.dedent("""
    import json, sys, xinqiao
    from xinqiao.errors import InputError
    said = []
    for folder, chip in json.loads(sys.argv[1]):
        try:
            xinqiao.load(folder, chip=chip or None)
        except InputError as error:
            said.append(str(error))
    print(json.dumps(said))
""")


SPOILED = [  # what is done to a converted checkpoint or its configuration, the chip that it is loaded for, what is said
    (lambda f, c: None, "ascend-910c", "its weights are float8_e4m3fn, which Huawei Ascend 910C refuses; "),
    (lambda f, c: c.update(architectures=["NobodyForCausalLM"]), "", "has no model NobodyForCausalLM"),
    (lambda f, c: c.update(architectures=["pipeline"]), "", "has no model pipeline"),
    (lambda f, c: c.update(quantization_config="fp8"), "", "its quantization_config is no table"),
    (lambda f, c: c.update(num_hidden_layers=3), "", "13 weights of LlamaForCausalLM are missing, such as model.l"),
    (lambda f, c: c.update(vocab_size=100), "", "2 weights of LlamaForCausalLM are of other shapes, such as ("),
    (lambda f, c: [p.unlink() for p in f.glob("*.safetensors*")], "", "no file named model.safetensors"),
]


def test_one_line_says_what_is_wrong(folder, tmp_path):
    asked = []
    for number, (spoil, chip, _) in enumerate(SPOILED):
        path = shutil.copytree(folder / "llama-fp8-ue8m0", tmp_path / str(number))
        config = json.loads((path / "config.json").read_text())
        spoil(path, config)
        (path / "config.json").write_text(json.dumps(config))
        asked.append((str(path), chip))
    errors = json.loads(python(MEANT, json.dumps(asked)))
    for error, (_, _, said) in zip(errors, SPOILED, strict=True):
        assert said in error
        assert "\n" not in error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "config.json: cannot be read"),
        ("{", "config.json: not JSON"),
        ("{}", "config.json: names no architecture"),
        (
            '{"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "gptq"}}',
            "quantised as gptq",
        ),
        (
            '{"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "compressed-tensors", '
            '"config_groups": {"g": {"format": "mxfp4-pack-quantized"}}}}',
            "quantised as mxfp4-pack-quantized, which is not loaded; bf16, fp16, fp8-block",
        ),
    ],
)
def test_a_configuration_that_is_not_loaded(text, said, tmp_path):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=said):
        xinqiao.load(tmp_path)
