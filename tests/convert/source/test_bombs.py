"""Inputs as large as their limits allow, in a process of their own: little time, little memory, one line."""

import struct
import subprocess
import sys

import pytest

from tests import processor

SECONDS, MEGABYTES = 2.0, 300
PROGRAM = """
import sys, time
from pathlib import Path
from xinqiao.convert.source import open_checkpoint
from xinqiao.errors import InputError
begun = time.process_time()
try:
    open_checkpoint(Path(sys.argv[1]), allow_pickle=False, scratch=None)
except InputError as error:
    seconds = time.process_time() - begun
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]  # of this program alone
    print(str(error).count(chr(10)), seconds, peak)
"""
ROW = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
GOOD = struct.pack("<Q", 6 + len(ROW)) + b'{"x":' + ROW + b"}"


def framed(text):
    return struct.pack("<Q", len(text)) + text


def number(value, size=8):
    return value.to_bytes(size, "little")


def strings(rows, each):
    """A GGUF with `rows` arrays of `each` empty strings."""
    array = number(9, 4) + number(8, 4) + number(each) + bytes(8 * each)
    keys = (number(1) + bytes([65 + i]) for i in range(rows))
    return b"GGUF" + number(3, 4) + number(0) + number(rows) + b"".join(key + array for key in keys)


BOMBS = {  # what is large → (the file's name, its bytes)
    "a shape of numbers": ("model.safetensors", lambda: framed(b'{"x":{"shape":[' + b"1," * 45_000_000 + b"1]}}")),
    "objects in a row": ("model.safetensors", lambda: framed(b'{"x":[' + b"{}," * 30_000_000 + b"1]}")),
    "brackets": ("model.safetensors", lambda: framed(b'{"x":' + b"[" * 90_000_000)),
    "a name": ("model.safetensors", lambda: framed(b'{"' + b"x" * 90_000_000 + b'":1}')),
    "escapes in a name": ("model.safetensors", lambda: framed(b'{"' + b"\\n" * 45_000_000 + b'":1}')),
    "metadata": ("model.safetensors", lambda: framed(b'{"__metadata__":{' + b'"a":"b",' * 10_000_000 + b'"a":"b"}}')),
    "spaces": ("model.safetensors", lambda: framed(b"{" + b" " * 90_000_000)),
    "one name many times": ("model.safetensors", lambda: framed(b"{" + (b'"x":' + ROW + b",") * 1_500_000 + b"}")),
    "a configuration of objects": ("config.json", lambda: b'{"x":[' + b"{}," * 3_400_000 + b"]"),
    "a configuration of zeros": ("config.json", lambda: b"[" + b"0," * 5_000_000 + b"0]"),
    "an index of objects": ("model.safetensors.index.json", lambda: b'{"x":[' + b"{}," * 20_000_000 + b"1]}"),
    "an index of names": (
        "model.safetensors.index.json",
        lambda: b'{"weight_map":{' + b",".join(b'"%x":"y"' % i for i in range(4_000_000)) + b"}}",
    ),
    "strings without end": ("model.gguf", lambda: strings(10, 2_000_000)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_refused_at_little_cost(name, tmp_path):
    file, made = BOMBS[name]
    (tmp_path / "model.safetensors").write_bytes(GOOD)
    (tmp_path / file).write_bytes(made())
    path = tmp_path / file if file.endswith(".gguf") else tmp_path
    done = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=True)
    breaks, seconds, kilobytes = done.stdout.split()
    assert breaks == "0"
    processor.check(float(seconds), SECONDS)
    assert int(kilobytes) < MEGABYTES * 1024
