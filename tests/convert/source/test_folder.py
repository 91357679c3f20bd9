"""Folders as publishers and users leave them: what is read, what is copied, what is refused."""

import json
import os

import pytest
import torch
from safetensors.torch import save

from xinqiao.convert.source import open_checkpoint
from xinqiao.errors import InputError


def shard(*names):
    return save({name: torch.ones(2) for name in names}, {"format": "pt"})


def index(**where):
    return json.dumps({"metadata": {"total_size": 8}, "weight_map": where}).encode()


A, B = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
GOOD = {  # what lies in the folder → (files, the tensors, words of the warning)
    "one file": ({"model.safetensors": shard("a")}, ["a"], ""),
    "shards with an index": ({A: shard("a"), B: shard("b"), INDEX: index(a=A, b=B)}, ["a", "b"], ""),
    "shards without an index": ({A: shard("a"), B: shard("b")}, ["a", "b"], ""),
    "a file of any name": ({"consolidated.safetensors": shard("a")}, ["a"], ""),
    "the same weights under other names": (
        {"model.safetensors": shard("a"), "consolidated.safetensors": shard("other")},
        ["a"],
        "consolidated.safetensors",
    ),
    "a file beside the index": (
        {A: shard("a"), B: shard("b"), INDEX: index(a=A, b=B), "adapter_model.safetensors": shard("lora")},
        ["a", "b"],
        "adapter_model.safetensors",
    ),
}
BAD = {  # what is wrong → (files, words of the message)
    "no weights": ({"config.json": b"{}"}, "no .safetensors file"),
    "a shard is missing": ({A: shard("a"), INDEX: index(a=A, b=B)}, f"{B} is missing"),
    "a shard is missing, without an index": ({A: shard("a")}, f"{B} is missing"),
    "a tensor in two shards": ({A: shard("a"), B: shard("a", "b"), INDEX: index(a=A, b=B)}, f"a is in {A} and in {B}"),
    "a name of two lines": ({A: shard("a", "c\nd"), B: shard("b"), INDEX: index(a=A, b=B)}, r"does not list 'c\nd'"),
    "a tensor that the index lacks": ({A: shard("a", "c"), B: shard("b"), INDEX: index(a=A, b=B)}, "does not list c"),
    "a stale entry": ({A: shard("a"), B: shard("b"), INDEX: index(a=A, b=B, c=A)}, f"says that c is in {A}"),
    "an entry of another shard": (
        {A: shard("a", "c"), B: shard("b"), INDEX: index(a=A, b=B, c=B)},
        f"says that c is in {B}",
    ),
    "an index without a map": ({A: shard("a"), INDEX: b'{"weight_map": {}}'}, "has no weight_map"),
    "an index of lists": ({A: shard("a"), INDEX: b'{"weight_map": {"a": []}}'}, "has no weight_map"),
    "an index nested deep": ({A: shard("a"), INDEX: b'{"x":' * 9000}, "has no weight_map"),
    "a configuration that is a list": ({"model.safetensors": shard("a"), "config.json": b"[]"}, "not a JSON object"),
    "a configuration nested deep": (
        {"model.safetensors": shard("a"), "config.json": b'{"x":' * 900 + b"1" + b"}" * 900},
        "nested deeper",
    ),
    "half a surrogate pair": ({"model.safetensors": shard("a"), "config.json": b'{"x": "\\ud800"}'}, "not JSON"),
    "a configuration of 11 MB": ({"model.safetensors": shard("a"), "config.json": b" " * (11 << 20)}, "larger than"),
    "two GGUF models": ({"a.gguf": b"", "b.gguf": b""}, "give one file"),
}


def laid(folder, files):
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def opened(path):
    return open_checkpoint(path, allow_pickle=False, scratch=None)


@pytest.mark.parametrize("name", GOOD)
def test_read(name, tmp_path):
    files, names, warning = GOOD[name]
    found = opened(laid(tmp_path / "source", files))
    assert list(found.entries) == names
    assert len(found.warnings) == bool(warning)
    assert warning in "".join(found.warnings)


@pytest.mark.parametrize("name", BAD)
def test_refused(name, tmp_path):
    files, words = BAD[name]
    with pytest.raises(InputError) as caught:
        opened(laid(tmp_path / "source", files))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", INDEX, "tokenizer.json"])
def test_a_pipe_is_not_waited_on(name, tmp_path):
    folder = laid(tmp_path / "source", {"model.safetensors": shard("a")})
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    if name == "tokenizer.json":
        assert opened(folder).others == ()
    else:
        with pytest.raises(InputError, match="not a regular file"):
            opened(folder)


def test_what_is_copied(tmp_path):
    copied = {"tokenizer.json", "generation_config.json", "merges.txt", "tokenizer.model", "LICENSE", "modeling_x.py"}
    left = {"config.json", ".hidden.json", "optimizer.pt", INDEX, "training_args.bin"}
    files = {"model.safetensors": shard("a"), INDEX: index(a="model.safetensors")} | dict.fromkeys(copied, b"{}")
    folder = laid(tmp_path / "source", dict.fromkeys(left, b"{}") | files)
    (folder / "inner.json").mkdir()
    assert {path.name for path in opened(folder).others} == copied


def linked(tmp_path, home):
    """A folder of links to files in `home`, as a cache of downloads or a user makes it."""
    laid(home, {"one": shard("a"), "two": b'{"model_type": "llama"}', "three": b"{}"})
    folder = laid(tmp_path / "snapshot", {})
    for name, target in (("model.safetensors", "one"), ("config.json", "two"), ("tokenizer.json", "three")):
        (folder / name).symlink_to(home / target)
    return folder


def test_links_to_where_the_weights_lie_are_followed(tmp_path):
    found = opened(linked(tmp_path, tmp_path / "blobs"))
    assert found.config == {"model_type": "llama"}
    assert [path.name for path in found.others] == ["tokenizer.json"]


def test_links_to_the_users_other_files_are_not_followed(tmp_path):
    secret = tmp_path / "home"
    laid(secret, {"secret": b'{"auths": {}}'})
    folder = laid(tmp_path / "source", {"model.safetensors": shard("a"), "config.json": b"{}"})
    (folder / "notes.txt").symlink_to(secret / "secret")
    found = opened(folder)
    assert found.others == ()
    assert "notes.txt is a link that leads out of the folder" in found.warnings[0]
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(secret / "secret")
    with pytest.raises(InputError, match="leads out of the folder"):
        opened(folder)
