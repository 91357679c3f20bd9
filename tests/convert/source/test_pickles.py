"""PyTorch's own files: refused, unless asked for; then their tensors and nothing else."""

import ast
import json
import os
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.convert.running import run
from xinqiao.convert import Request, convert, verify
from xinqiao.convert.source import open_checkpoint
from xinqiao.errors import InputError

WEIGHT = "model.layers.0.mlp.up_proj.weight"


def checkpoint(folder, tensors):
    folder.mkdir()
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "torch_dtype": "bfloat16"}))
    return folder


def some_tensors():
    embed = torch.randn(64, 128).bfloat16()
    return {"model.embed_tokens.weight": embed, "lm_head.weight": embed, WEIGHT: torch.randn(256, 128).T.bfloat16()}


def test_refused_unless_asked_for(tmp_path):
    source = checkpoint(tmp_path / "source", some_tensors())
    done = run("convert", source, "--to", "bf16", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "--allow-pickle" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tensors_are_taken_and_tied_ones_stay_tied(tmp_path):
    tensors = some_tensors()
    source = checkpoint(tmp_path / "source", tensors)
    convert(source, Request(layout="bf16"), tmp_path / "out", allow_pickle=True)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == {"model.embed_tokens.weight", WEIGHT}
    assert all(torch.equal(found[name], tensors[name]) for name in found)
    assert not verify(tmp_path / "out", source, allow_pickle=True).findings


class Runs:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_code_is_not_run(tmp_path):
    mark = tmp_path / "mark"
    source = checkpoint(tmp_path / "source", {"x": Runs(mark)})
    with pytest.raises(InputError, match="cannot be read as tensors alone"):
        convert(source, Request(layout="bf16"), tmp_path / "out", allow_pickle=True)
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


def test_a_file_that_unfolds_is_refused(tmp_path):
    source = checkpoint(tmp_path / "source", {"x": torch.zeros(4_000_000)})
    path = source / "pytorch_model.bin"
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match="unfolds to 16 MB"):
        convert(source, Request(layout="bf16"), tmp_path / "out", allow_pickle=True)


def test_a_tensor_that_repeats_one_number_is_refused(tmp_path):
    """A file of a few bytes that stands for a terabyte, without any compression."""
    source = checkpoint(tmp_path / "source", {"x": torch.zeros(1).expand(1 << 20, 1 << 18)})
    with pytest.raises(InputError, match="repeat what they hold"):
        convert(source, Request(layout="bf16"), tmp_path / "out", allow_pickle=True)


def listed(folder, **where):
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))


def test_an_index_is_held_to(tmp_path):
    source = checkpoint(tmp_path / "source", {"a": torch.ones(2), "b": torch.ones(3)})
    bad = {
        "says that c is in": {"a": "pytorch_model.bin", "b": "pytorch_model.bin", "c": "pytorch_model.bin"},
        "does not list b": {"a": "pytorch_model.bin"},
        "is missing": {"a": "pytorch_model.bin", "b": "other.bin"},
        "not a .bin file of this folder": {"a": "../source/pytorch_model.bin"},
    }
    for words, where in bad.items():
        listed(source, **where)
        with pytest.raises(InputError) as caught:
            open_checkpoint(source, allow_pickle=True, scratch=tmp_path)
        assert words in str(caught.value)


def test_an_index_lists_tied_names_too(tmp_path):
    tensors = some_tensors()
    source = checkpoint(tmp_path / "source", tensors)
    listed(source, **dict.fromkeys(tensors, "pytorch_model.bin"))
    found = open_checkpoint(source, allow_pickle=True, scratch=tmp_path)
    assert found.entries.keys() == {"model.embed_tokens.weight", WEIGHT}


def test_a_missing_file_of_several_is_seen(tmp_path):
    source = checkpoint(tmp_path / "source", some_tensors())
    (source / "pytorch_model.bin").rename(source / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(InputError, match=r"pytorch_model-00002-of-00002\.bin is missing"):
        open_checkpoint(source, allow_pickle=True, scratch=tmp_path)


def test_a_pipe_is_not_waited_on(tmp_path):
    source = checkpoint(tmp_path / "source", some_tensors())
    (source / "pytorch_model.bin").unlink()
    os.mkfifo(source / "pytorch_model.bin")
    with pytest.raises(InputError, match="not a regular file"):
        open_checkpoint(source, allow_pickle=True, scratch=tmp_path)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04" + b"\0" * 50])
def test_damaged_files(data, tmp_path):
    source = checkpoint(tmp_path / "source", some_tensors())
    (source / "pytorch_model.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"pytorch_model\.bin"):
        convert(source, Request(layout="bf16"), tmp_path / "out", allow_pickle=True)


def test_nothing_else_unpickles_or_evaluates():
    """One file may call torch.load, in a process of its own; nobody calls eval or exec, or imports pickle."""
    root = Path(__file__).parents[3] / "xinqiao"
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {"pickle", "dill", "joblib"} & {alias.name for alias in node.names}, path
            if isinstance(node, ast.Call) and path.parts[-3:-1] != ("xinqiao", "device"):
                name = ast.unparse(node.func)
                assert name not in ("eval", "exec", "pickle.load", "pickle.loads"), path
                assert name != "torch.load" or path.name == "unpickle.py", path
