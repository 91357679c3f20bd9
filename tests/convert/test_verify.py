"""Twelve ways in which a converted checkpoint goes wrong, each found, each with the tensor's name."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.convert.models import deepseek, llama
from xinqiao.convert import Request, convert, verify
from xinqiao.convert.show import verification_text
from xinqiao.errors import InputError

WEIGHT = "model.layers.0.mlp.up_proj.weight"
SCALE = "model.layers.0.mlp.up_proj.weight_scale_inv"
OTHER = "model.layers.0.mlp.gate_proj.weight_scale_inv"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return llama(tmp_path_factory.mktemp("verify") / "source")


@pytest.fixture(scope="module")
def good(source):
    out = source.parent / "good"
    convert(source, Request(layout="fp8-ue8m0"), out)
    return out


@pytest.fixture
def bad(good, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(good, tmp_path / "bad")


def rewritten(folder, change):
    """Change the tensors and write the shard again, as a program would that knows nothing of the manifest."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def with_new_hashes(folder):
    """Let the manifest agree with the shard: now only the source can tell."""
    from blake3 import blake3

    path = folder / "xinqiao-manifest.json"
    manifest = json.loads(path.read_text())
    data = (folder / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    for row in manifest["weights"]:
        for part in row["parts"]:
            begin, end = header[part["name"]]["data_offsets"]
            part |= {"offset": begin, "blake3": blake3(data[start + begin : start + end]).hexdigest()}
    path.write_text(json.dumps(manifest))


def flip(name):
    def change(folder):
        path = folder / "model.safetensors"
        data = bytearray(path.read_bytes())
        start = 8 + int.from_bytes(data[:8], "little")
        begin, end = json.loads(data[8:start])[name]["data_offsets"]
        data[start + (begin + end) // 2] ^= 1
        path.write_bytes(data)

    return change


def tensors(change):
    return lambda folder: rewritten(folder, change)


def swap(t):
    t[SCALE], t[OTHER] = t[OTHER].clone(), t[SCALE].clone()


def swap_codes(t):
    a, b = WEIGHT, OTHER.replace("_scale_inv", "")
    t[a], t[b] = t[b].clone(), t[a].clone()


def double_scale(t):
    t[SCALE] = t[SCALE] * 2


def bf16_scale(t):
    t[SCALE] = t[SCALE].bfloat16()


def transpose_scale(t):
    t[SCALE] = t[SCALE].T.contiguous()


def as_int8(t):
    t[WEIGHT] = t[WEIGHT].view(torch.int8)


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


CORRUPTIONS = {  # name → (how, with the manifest made to agree, what verify names)
    "a flipped bit of a code": (flip(WEIGHT), False, WEIGHT),
    "a flipped bit of a scale": (flip(SCALE), False, SCALE),
    "a flipped bit of a norm": (flip("model.norm.weight"), False, "model.norm.weight"),
    "a missing scale": (tensors(lambda t: t.pop(SCALE)), False, SCALE),
    "two scales swapped": (tensors(swap), False, SCALE),
    "two weights' codes swapped": (tensors(swap_codes), False, WEIGHT),
    "a scale rounded up, codes kept": (tensors(double_scale), False, SCALE),
    "the same, and the manifest agrees": (tensors(double_scale), True, WEIGHT),
    "codes swapped, and the manifest agrees": (tensors(swap_codes), True, WEIGHT),
    "a scale of another dtype": (tensors(bf16_scale), False, SCALE),
    "a transposed scale": (tensors(transpose_scale), False, SCALE),
    "codes of another dtype": (tensors(as_int8), False, WEIGHT),
    "a tensor too many": (tensors(lambda t: t.update(extra=torch.zeros(3))), False, "extra"),
    "a cut file": (truncate, False, "model.safetensors"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_found_with_its_name(name, bad, source):
    damage, agrees, where = CORRUPTIONS[name]
    damage(bad)
    if agrees:
        with_new_hashes(bad)
        assert not verify(bad).findings  # nobody could tell without the source
    findings = verify(bad, source if agrees else None).findings
    assert where in [finding.where for finding in findings], findings


def test_a_stale_index_entry(tmp_path, monkeypatch):
    monkeypatch.setattr("xinqiao.convert.plan.SHARD", 150_000)
    source = llama(tmp_path / "source")
    out = tmp_path / "out"
    convert(source, Request(layout="bf16"), out)
    path = out / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][WEIGHT] = next(s for s in index["weight_map"].values() if s != index["weight_map"][WEIGHT])
    path.write_text(json.dumps(index))
    assert [finding.where for finding in verify(out).findings] == [WEIGHT]


def test_a_good_one_has_no_findings(good, source):
    assert not verify(good).findings
    found = verify(good, source)
    assert not found.findings
    assert found.against == "manifest and source"
    with safe_open(good / "model.safetensors", "pt") as opened:
        assert found.tensors == len(list(opened.keys()))


def test_a_changed_source_is_named(good, source, tmp_path):
    other = shutil.copytree(source, tmp_path / "other")
    rewritten(other, lambda t: t.update({WEIGHT: t[WEIGHT] * 1.5}))
    assert verify(good, other).findings


@pytest.mark.parametrize(("bug", "finds"), [(False, False), (True, True)])
def test_a_checkpoint_of_another_tool_against_its_source(tmp_path, bug, finds):
    """The field's commonest bug: scales rounded up to powers of two while the codes stay."""
    source = deepseek(tmp_path / "bf16", "bf16")
    made = deepseek(tmp_path / "v3", "v3")
    if bug:

        def round_up(t):
            for name in list(t):
                if name.endswith("_scale_inv"):
                    t[name] = torch.exp2(torch.ceil(torch.log2(t[name])))

        rewritten(made, round_up)
    found = verify(made, source)
    assert bool(found.findings) == finds, found.findings
    assert found.tensors > 30
    assert found.nbytes > 500_000
    assert finds or "no hash was checked" in verification_text(found)


def test_nothing_to_check_against(tmp_path):
    source = llama(tmp_path / "source")
    with pytest.raises(InputError, match="--source MODEL"):
        verify(source)
