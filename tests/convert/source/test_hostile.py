"""Inputs made to do harm, or broken on the way: one line, quickly, in little memory, and nothing opened outside."""

import json
import random
import resource
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save

from tests.convert.running import run
from tests.processor import within
from xinqiao.convert import Request, planned
from xinqiao.convert.source import open_checkpoint
from xinqiao.errors import InputError

SECONDS, MEGABYTES = 2.0, 300
TENSORS = {
    "model.layers.0.mlp.up_proj.weight": torch.randn(8, 32).to(torch.float8_e4m3fn),
    "model.layers.0.mlp.up_proj.weight_scale_inv": torch.ones(1, 1),
    "model.norm.weight": torch.ones(32, dtype=torch.bfloat16),
}
SHARD = "model-00001-of-00001.safetensors"
NUMBERS = [0, 1, -1, 7, 255, 1 << 31, (1 << 32) - 1, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
TRAVERSALS = [
    "../outside.safetensors",
    "/etc/outside.safetensors",
    "inner/../../outside.safetensors",
    "..\\outside.safetensors",
    "C:\\outside.safetensors",
    "//host/outside.safetensors",
    "inner/model.safetensors",
    "outside\0.safetensors",
    "config.json",
    ".hidden.safetensors",
    "",
    "．．/outside.safetensors",
]


def safetensors_file():
    return save(TENSORS, {"format": "pt"})


def gguf_file(path):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_embedding_length(32)
    writer.add_head_count(2)
    writer.add_token_list(["a", "b", "c"])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_tensor("token_embd.weight", np.ones((3, 32), dtype=np.float32))
    writer.add_tensor(
        "blk.0.attn_q.weight", np.ones((32, 34), dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """File name → the bytes of a good one."""
    config = {"model_type": "llama", "quantization_config": {"weight_block_size": [128, 128], "quant_method": "fp8"}}
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(TENSORS, SHARD)}
    return {
        SHARD: safetensors_file(),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "config.json": json.dumps(config).encode(),
        "model.gguf": gguf_file(tmp_path_factory.mktemp("gguf") / "model.gguf"),
    }


def mutated(data, chance):
    """The same bytes with one to four wounds."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(found)) if found else 0
        match chance.randrange(7):
            case 0:
                found[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del found[at : at + chance.choice((1, 8, 64, len(found)))]
            case 2:
                found[at:at] = chance.randbytes(chance.choice((1, 8, 64)))
            case 3:
                found[at : at + 8] = (chance.choice(NUMBERS) & (1 << 64) - 1).to_bytes(8, "little")
            case 4:
                found[at:at] = found[at : at + chance.choice((8, 40, 200))]
            case 5:
                digits = [i for i, byte in enumerate(found) if 48 <= byte <= 57]
                if digits:
                    i = chance.choice(digits)
                    found[i : i + 1] = str(chance.choice(NUMBERS)).encode()
            case 6:
                found[at : at + 1] = chance.choice((b"[" * 3000, b'{"a":' * 3000, b'"', b"}", b"\0", b"../", b"\xff"))
    return bytes(found)


opened_outside: list[str] = []
watched: list[Path] = []


def watch(event, arguments):
    if event == "open" and watched and isinstance(arguments[0], str | bytes | Path):
        path = Path(arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0])
        if not path.resolve().is_relative_to(watched[0]) and path.suffix not in (".py", ".pyc", ".so"):
            opened_outside.append(str(path))


sys.addaudithook(watch)


def attack(folder, seeds, chance):
    """One mutated input, read and planned; whether it was refused."""
    victim = chance.choice(list(seeds))
    names = ["model.gguf"] if victim == "model.gguf" else [name for name in seeds if name != "model.gguf"]
    for name in names:
        (folder / name).write_bytes(mutated(seeds[name], chance) if name == victim else seeds[name])
    source = folder / victim if victim == "model.gguf" else folder
    watched[:] = [folder.resolve()]
    with within(SECONDS):
        try:
            with planned(source, Request(layout="bf16"), folder.parent / "out"):
                return False
        except InputError as error:
            assert "\n" not in str(error)
            return True
        finally:
            watched.clear()


def campaign(folder, seeds, count, seed):
    folder = folder / "source"
    folder.mkdir()
    chance = random.Random(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = sum(attack(folder, seeds, chance) for _ in range(count))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES
    assert not opened_outside
    assert not (folder.parent / "out").exists()
    assert refused > count // 3


@pytest.mark.slow
def test_five_thousand_mutations(tmp_path, seeds):
    campaign(tmp_path, seeds, 5_000, seed=1)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(10, 20))
def test_a_hundred_thousand_mutations(tmp_path, seeds, seed):
    campaign(tmp_path, seeds, 10_000, seed)


def test_the_seeds_themselves_are_good(tmp_path, seeds):
    for name in seeds:
        (tmp_path / name).write_bytes(seeds[name])
    assert set(open_checkpoint(tmp_path, allow_pickle=False, scratch=None).entries) == set(TENSORS)
    found = open_checkpoint(tmp_path / "model.gguf", allow_pickle=False, scratch=None)
    assert set(found.entries) == {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"}


@pytest.mark.parametrize("where", TRAVERSALS)
def test_an_index_leads_nowhere_else(where, tmp_path, seeds):
    folder = tmp_path / "source"
    folder.mkdir()
    for outside in (tmp_path / "outside.safetensors", folder / "config.json"):
        outside.write_bytes(seeds[SHARD])
    index = {"weight_map": dict.fromkeys(TENSORS, where)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text("{}")
    watched[:] = [folder.resolve()]
    try:
        with pytest.raises(InputError, match=r"not a \.safetensors file of this folder"):
            open_checkpoint(folder, allow_pickle=False, scratch=None)
    finally:
        watched.clear()
    assert not opened_outside


def test_a_link_of_the_users_own_folder_is_followed(tmp_path, seeds):
    """As Hugging Face's cache has them: a plain name in the folder, the bytes elsewhere."""
    (tmp_path / "blob").write_bytes(seeds[SHARD])
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    assert set(open_checkpoint(folder, allow_pickle=False, scratch=None).entries) == set(TENSORS)


def header(**changes):
    row = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes
    return json.dumps({"x": row}).encode()


def framed(text, data=b"\0" * 8):
    return len(text).to_bytes(8, "little") + text + data


BROKEN = {  # what is wrong → a safetensors file
    "empty": b"",
    "length beyond the file": (1 << 62).to_bytes(8, "little") + b"{}",
    "header of 200 MB": (200_000_000).to_bytes(8, "little") + b"{}",
    "not JSON": framed(b"{"),
    "deep JSON": framed(b"[" * 50_000),
    "no object": framed(b"[]"),
    "a key twice": framed(b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{}}'),
    "unknown dtype": framed(header(dtype="F3")),
    "shape and bytes disagree": framed(header(shape=[3])),
    "offsets backwards": framed(header(data_offsets=[8, 0])),
    "negative": framed(header(data_offsets=[-8, 0])),
    "overflow": framed(header(shape=[1 << 40, 1 << 40])),
    "a float": framed(header(shape=[2.0])),
    "true for one": framed(header(shape=[True, 2])),
    "bytes left over": framed(header(), b"\0" * 9),
    "bytes missing": framed(header(), b"\0" * 7),
    "NUL in a name": framed(header().replace(b'"x"', b'"x\\u0000"')),
    "extra key": framed(header(extra=1)),
    "half a surrogate pair in a name": framed(header().replace(b'"x"', b'"\\ud800"')),
    "a key twice, written in two ways": framed(header()[:-1] + b"," + header().replace(b'"x"', b'"\\u0078"')[1:]),
    "a tensor's key twice": framed(header().replace(b'"shape"', b'"shape": [3], "shape"')),
    "a comma too many": framed(header()[:-1] + b",}"),
    "text after the end": framed(header() + b"x"),
    "metadata twice": framed(b'{"__metadata__":{},"__metadata__":{},' + header()[1:]),
    "metadata of numbers": framed(b'{"__metadata__":{"a":1},' + header()[1:]),
    "a name that is no Unicode": framed(header().replace(b'"x"', b'"\xff"')),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_safetensors(name, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(BROKEN[name])
    with pytest.raises(InputError) as caught:
        open_checkpoint(tmp_path, allow_pickle=False, scratch=None)
    assert "model.safetensors" in str(caught.value)


def gguf_with(*rows, tensors=0):
    """A GGUF of so many claimed tensors and these rows of metadata, as bytes after their keys."""
    head = b"GGUF" + (3).to_bytes(4, "little") + tensors.to_bytes(8, "little") + len(rows).to_bytes(8, "little")
    return head + b"".join((1).to_bytes(8, "little") + b"k" + row for row in rows)


def number(value, size=8):
    return value.to_bytes(size, "little")


GGUFS = {
    "a trillion items": gguf_with(number(9, 4) + number(4, 4) + number(1 << 40)),
    "a trillion strings": gguf_with(number(9, 4) + number(8, 4) + number(1 << 40)),
    "a trillion tensors": gguf_with(tensors=1 << 40),
    "arrays in arrays": gguf_with((number(9, 4) + number(9, 4) + number(1)) * 5000),
    "a string without end": gguf_with(number(8, 4) + number((1 << 63) - 1)),
    "cut": gguf_with(number(4, 4)),
    "an unknown kind": gguf_with(number(99, 4)),
    "version 1": b"GGUF" + number(1, 4) + number(0) * 2,
    "another file": b"PK\3\4" + b"\0" * 60,
    "empty": b"",
}


@pytest.mark.parametrize("name", GGUFS)
def test_broken_gguf(name, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(GGUFS[name])
    with within(SECONDS), pytest.raises(InputError) as caught:
        open_checkpoint(path, allow_pickle=False, scratch=None)
    assert "model.gguf" in str(caught.value)


def test_headers_as_other_writers_leave_them(tmp_path):
    """Spaces, braces in metadata, an empty file, any order of keys, empty tensors."""
    rows = (
        b' "y" : { "shape" : [ 2 ] , "data_offsets" : [ 0 , 8 ] , "dtype" : "F32" } , "z":'
        + header(shape=[0, 5], data_offsets=[8, 8])[6:-1]
    )
    good = {
        "plain": (framed(b'{ "__metadata__" : {"a": "{\\"b\\": [}"} ,' + rows + b"}   "), ["y", "z"]),
        "metadata last": (framed(b"{" + rows + b',"__metadata__":{}}'), ["y", "z"]),
        "nothing": (framed(b"{}", b""), []),
        "metadata alone": (framed(b'{"__metadata__":{"format":"pt"}}', b""), []),
    }
    for data, names in good.values():
        (tmp_path / "model.safetensors").write_bytes(data)
        assert list(open_checkpoint(tmp_path, allow_pickle=False, scratch=None).entries) == names


NAMES = ["layers[/3].weight", "<script>alert(1)</script>", "\x1b[31mred", "\u202ebackwards", "a b\tc", "🦙"]


@pytest.mark.parametrize("name", NAMES)
def test_strange_names_are_printed_tamely(name, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.safetensors").write_bytes(save({name: torch.ones(2)}))
    for words in (["--dry-run"], []):
        done = run("convert", tmp_path / "source", "--to", "bf16", "--out", tmp_path / "out", *words)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
