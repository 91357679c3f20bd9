"""The public models that ship have the parameters that their publishers state."""

import json
import subprocess
import sys
import timeit

import pytest

from tests.size.oracle import built, ours
from xinqiao.errors import InputError
from xinqiao.size.catalogue import FOLDER, find, load, names

# Exact totals are of the safetensors index or the model card; the others as the publisher rounds them.
TOTAL = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.3-70b": 70_553_706_496,
    "mistral-7b": 7_248_023_552,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 0.6e9,
    "qwen3-1.7b": 1.72e9,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-235b-a22b": 235_093_634_560,
    "qwen3-coder-480b-a35b": 480_154_875_392,
    "qwen3-next-80b-a3b": 80e9,
    "qwen3.5-27b": 27e9,
    "qwen3.5-35b-a3b": 35e9,
    "qwen3.5-122b-a10b": 122e9,
    "qwen3.5-397b-a17b": 397e9,
    "deepseek-v2": 235_741_434_880,
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v3": 671e9,
    "deepseek-r1": 671e9,
    "deepseek-v3.1": 671e9,
    "deepseek-v3.2": 671e9,
    "deepseek-v4-flash": 284e9,
    "deepseek-v4-pro": 1.6e12,
    "glm-5": 744e9,
    "glm-5.2": 744e9,
    "kimi-k2": 1.026e12,
    "kimi-k2-thinking": 1.026e12,
    "kimi-k2.5": 1.026e12,
    "mixtral-8x7b": 46_702_792_704,
    "mixtral-8x22b": 140_620_634_112,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
    "minimax-m2": 228.7e9,
    "ernie-4.5-21b-a3b": 21_825_437_888,
    "hunyuan-a13b": 80_393_183_232,
    "pangu-pro-moe-72b": 71.99e9,
    "openpangu-ultra-moe-718b": 718e9,
}
WITH_MTP = {  # the publisher's total counts the layers that predict further tokens
    "glm-4.5": 356_785_898_816,
    "glm-4.6": 356_785_898_816,
    "glm-4.5-air": 110_468_824_832 - 2 * 151552 * 4096,  # whose checkpoint holds the embedding and the head twice
}
ROUNDED = {"deepseek-v4-pro": 0.02}  # 1.6T has two digits
ACTIVE = [  # model, per token in 1e9, whether the publisher counts the embedding too
    ("deepseek-v3", 36.6, False),
    ("deepseek-v4-flash", 13, False),
    ("deepseek-v4-pro", 49, False),
    ("gpt-oss-20b", 3.61, False),
    ("gpt-oss-120b", 5.13, False),
    ("qwen3-235b-a22b", 22, True),
    ("qwen3-30b-a3b", 3.3, True),
    ("mixtral-8x7b", 12.9, True),
    ("kimi-k2", 32.6, True),
    ("pangu-pro-moe-72b", 16.50, True),
    ("hunyuan-a13b", 13, True),
]
STORED = [  # model, of most weights, of everything but routed experts where it differs
    ("llama-2-7b", "fp16", ""),
    ("llama-3-70b", "bf16", ""),
    ("deepseek-v3", "fp8", ""),
    ("deepseek-v4-flash", "mxfp4", "fp8"),
    ("gpt-oss-120b", "mxfp4", "bf16"),
    ("kimi-k2", "fp8", ""),
    ("kimi-k2-thinking", "int4", "bf16"),
    ("kimi-k2.5", "int4", "bf16"),
    ("minimax-m2", "fp8", ""),
]
PUBLISHED = [  # as a publisher or a person writes it, name
    ("Qwen/Qwen3-8B", "qwen3-8b"),
    ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
    ("meta-llama/Llama-2-7b-chat-hf", "llama-2-7b"),
    ("DeepSeek-V3", "deepseek-v3"),
    ("moonshotai/Kimi-K2-Instruct", "kimi-k2"),
    ("moonshotai/Kimi-K2-Thinking", "kimi-k2-thinking"),
]


@pytest.mark.parametrize("name", TOTAL)
def test_total(name):
    assert load(name).parameters() == pytest.approx(TOTAL[name], rel=ROUNDED.get(name, 0.01))


@pytest.mark.parametrize("name", [name for name, total in TOTAL.items() if isinstance(total, int)])
def test_total_to_the_last_parameter(name):
    """The correction biases of routers are left out of the counts that the publishers state."""
    model = load(name)
    biases = sum(m.parameters for m in model.matrices() if m.name == "router.bias")
    assert TOTAL[name] in (model.parameters(), model.parameters() - biases)


@pytest.mark.parametrize("name", WITH_MTP)
def test_total_with_mtp(name):
    model = load(name)
    assert model.parameters() + model.parameters("mtp") == pytest.approx(WITH_MTP[name], rel=1e-3)


@pytest.mark.real
@pytest.mark.slow
def test_every_part_has_as_many_parameters_as_in_transformers(tmp_path):
    """All but two, of architectures that it does not have."""
    compared, configurations = [], []
    for name in names():
        keys = json.loads((FOLDER / f"{name}.json").read_text())
        keys = keys.get("text_config", keys)
        kind = {"kimi_k2": "deepseek_v3"}.get(keys["model_type"], keys["model_type"])
        if "angu" not in kind:
            dropped = ("source", "model_type", "quantization_config", "expert_dtype")
            configurations.append((kind, {key: keys[key] for key in keys if key not in dropped}))
            compared.append(name)
    assert len(compared) == len(names()) - 2
    for name, (meant, _) in zip(compared, built(tmp_path, configurations), strict=True):
        assert ours(load(name)) == meant, name


def test_every_model_has_a_published_total_and_a_source():
    assert sorted(TOTAL | WITH_MTP) == names()
    assert all(load(name).source.startswith("https://") for name in names())


@pytest.mark.parametrize(("name", "active", "embedding"), ACTIVE)
def test_active(name, active, embedding):
    model = load(name)
    counted = model.active_parameters() + (model.parameters("embedding") if embedding and not model.tied else 0)
    assert counted / 1e9 == pytest.approx(active, rel=0.025)


@pytest.mark.parametrize(("name", "stored", "rest"), STORED)
def test_stored(name, stored, rest):
    model = load(name)
    assert (model.stored, model.stored_rest) == (stored, rest)


def test_mtp_of_deepseek_v3():
    """11.5B unique parameters, as README_WEIGHTS.md of its repository says."""
    assert load("deepseek-v3").parameters("mtp") == pytest.approx(11.5e9, rel=0.01)


@pytest.mark.parametrize(("written", "name"), PUBLISHED)
def test_published_names(written, name):
    assert load(written).name == find(written).name == name


def test_a_wrong_name_gets_the_nearest_ones():
    meant = r"^no model 'deepsek-v3'; did you mean .*deepseek-v3.*; or name a folder with a config\.json$"
    with pytest.raises(InputError, match=meant):
        find("deepsek-v3")


def test_an_existing_folder_goes_before_a_name(tmp_path, monkeypatch):
    folder = tmp_path / "qwen3-8b"
    folder.mkdir()
    text = (FOLDER / "qwen3-8b.json").read_text()
    (folder / "config.json").write_text(json.dumps(json.loads(text) | {"num_hidden_layers": 2}))
    monkeypatch.chdir(tmp_path)
    assert find("qwen3-8b").layers[0].count == find(str(folder / "config.json")).layers[0].count == 2
    assert load("qwen3-8b").layers[0].count == 36


def test_a_path_that_is_not_there():
    with pytest.raises(InputError, match=r"^\./nothing/config\.json: no such file or folder"):
        find("./nothing/config.json")


def test_loading_is_quick_and_needs_no_torch():
    program = "import sys, xinqiao.size.catalogue as c; c.load('deepseek-v3'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    for name in names():
        assert min(timeit.repeat(lambda name=name: load(name), number=1, repeat=3)) < 0.02, name
