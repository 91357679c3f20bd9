"""Damaged, mutated and oversized files: no crash, nothing half-written, and what parsed still parses."""

import json
import random
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.processor import within
from xinqiao.chips import catalog
from xinqiao.port.files import port_file
from xinqiao.port.target import Target

HERE = Path(__file__).parent
CHIP = catalog.load("ascend-910c")
TARGETS = [Target(CHIP), Target(CHIP, "vendor"), Target(catalog.load("kunlun-p800"))]
SECONDS = 2.0
PIECES = [
    *(b'"', b"'", b"`", b"$(", b"${", b"}", b")", b"((", b"<<EOF\n", b"\\", b"\\\n", b"\n", b"\r\n", b"\t", b"#"),
    *(b"{", b"[", b"]", b":", b", ", b"- ", b"&a ", b"*a ", b"|\n  ", b"'''", b'"""', b"\\u", b"\\ud800", b"\xff"),
    *(b"CUDA_VISIBLE_DEVICES=", b"nvidia-smi", b"cuda", b"%%bash\n", b"!", b"%env ", b"x.cuda()", b"nccl", b"\0"),
    *(b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xc2\x85"),
]


def seeds():
    """The first block of every section of every page, and a notebook."""
    found = []
    for page in sorted(HERE.glob("*.md")):
        found += [
            (name, text.encode()) for name, text in re.findall(r"```([\w./-]+)\n(.*?)```", page.read_text(), re.S)
        ]
    cells = [
        "import torch\n!pip install flash-attn",
        "%env CUDA_VISIBLE_DEVICES=0",
        "x = torch.ones(2).cuda()\nif x.is_cuda:\n    print(f'cuda:{x}')",
        "%%bash\nCUDA_VISIBLE_DEVICES=0 nvidia-smi",
    ]
    made = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": c.splitlines(keepends=True)} for c in cells]
    book = {"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return [*found, ("a.ipynb", json.dumps(book, indent=1).encode()), ("b.ipynb", json.dumps(book).encode())]


SEEDS = seeds()


def mutated(data, choose):
    data = bytearray(data)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(data) + 1)
        kind = choose.randrange(5)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            del data[at : at + choose.randint(1, 20)]
        elif kind == 2:
            data[at:at] = choose.choice(PIECES) * choose.choice([1, 1, 1, 3])
        elif kind == 3:
            data[at:at] = data[choose.randrange(len(data) + 1) :][: choose.randint(1, 60)]
        elif at < len(data):
            data[at] = choose.randrange(256)
    return bytes(data)


def parses(name, data):
    """Whether a reader of the file's own kind accepts it; None where there is none for this kind."""
    try:
        if name.endswith((".json", ".ipynb")):
            json.loads(data)
        elif name.endswith(".yaml"):
            list(yaml.compose_all(data.decode(), Loader=yaml.CSafeLoader))
        elif name.endswith(".toml"):
            tomllib.loads(data.decode())
        else:
            return None
    except (ValueError, yaml.YAMLError, RecursionError):
        return False
    return True


def check(name, data, target):
    with within(SECONDS):
        result = port_file(name, data, target)
    for o in result.occurrences:
        assert o.reason
        assert (o.line, o.column) <= (o.end_line, o.end_column)
        assert o.verdict != "rewritten" or result.data is not None
    if result.data is None:
        return result
    assert result.data != data
    assert parses(name, result.data) is not False or not parses(name, data), (name, data, result.data)
    again = port_file(name, result.data, target)
    assert again.data is None, (name, data, result.data, again.data)
    return result


def fuzz(seed, count):
    choose = random.Random(seed)
    for _ in range(count):
        name, data = choose.choice(SEEDS)
        check(name, mutated(data, choose), choose.choice(TARGETS))


def test_mutated_files():
    fuzz(1, 600)


@pytest.mark.slow
def test_many_mutated_files():
    fuzz(2, 5000)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_a_script_that_bash_reads_stays_one():
    choose = random.Random(3)
    scripts = [data for name, data in SEEDS if name.endswith(".sh")]
    read = 0
    for _ in range(300):
        data = mutated(choose.choice(scripts), choose)
        after = check("x.sh", data, TARGETS[choose.randrange(2)]).data
        if after is not None and bash_reads(data):
            read += 1
            assert bash_reads(after), (data, after)
    assert read > 30


def bash_reads(data):
    return subprocess.run(["bash", "-n"], input=data, capture_output=True, check=False).returncode == 0


HALF = 490_000  # bytes, less than the limit for scripts and configurations
LARGE = {  # a unit that is repeated up to the limit, between a beginning and an end
    "lines.sh": (b"", b"export CUDA_VISIBLE_DEVICES=0\n", b""),
    "words.sh": (b"echo > x ", b"cuda ", b""),
    "quotations.sh": (b"", b"'\"", b"cuda"),
    "substitutions.sh": (b"", b"$(", b"cuda"),
    "braces.sh": (b"", b"${a:-", b"cuda"),
    "backticks.sh": (b"", b"`", b"cuda"),
    "arithmetic.sh": (b"", b"$((", b"cuda"),
    "documents.sh": (b"", b"cat <<A\ncuda\n", b""),
    "waiting documents.sh": (b"cat ", b"<<A ", b"\n" + b"cuda\n" * 1000),
    "backslashes.sh": (b"", b"\\", b" cuda"),
    "reads.sh": (b"", b"$CUDA_VISIBLE_DEVICES", b""),
    "prefixes.sh": (b"", b"A=cuda ", b""),
    "operators.sh": (b"cuda ", b";&|", b""),
    "redirections.sh": (b"cuda ", b"> < ", b""),
    "shells.sh": (b"bash -c ", b"'bash -c cuda' ", b""),
    "unicode.sh": (b"", "导出 cuda é\n".encode(), b""),
    "deep.json": (b"", b"[", b'"cuda"'),
    "wide.json": (b'{"device": "cuda", "n": [', b'"cuda", ', b"1]}"),
    "numbers.json": (b'{"device": "cuda", "n": [', b"1.5, ", b"1]}"),
    "string.json": (b'{"a": "', b"cuda ", b'"}'),
    "comments.json": (b"", b"/*cuda", b""),
    "deep.yaml": (b"", b"[", b"cuda"),
    "blocks.yaml": (b"", b"- ", b"cuda"),
    "wide.yaml": (b"", b"cuda: x\n", b""),
    "keys.yaml": (b"", b"? ", b"cuda"),
    "aliases.yaml": (b"a: &a [cuda]\n", b"- *a\n", b""),
    "deep.toml": (b"x = ", b"[", b"cuda"),
    "comments.toml": (b"", b"#cuda\n", b""),
    "lists.toml": (b"device = [", b"'cuda', ", b"]"),
    "text.txt": (b"", b"cuda\n", b""),
    "requirements.txt": (b"", b"torch==2.1+cu118\n", b""),
    "Dockerfile": (b"", b"FROM nvidia/cuda:12\n", b""),
    "continued.Dockerfile": (b"", b"RUN cuda \\\n", b""),
    "Makefile": (b"", b"cuda\n", b""),
    "values.ini": (b"", b"device = cuda\n", b""),
    "lines.env": (b"", b"CUDA_VISIBLE_DEVICES=0\n", b""),
    "cells.ipynb": (b'{"cells": [', b'{"cell_type": "code", "source": ["x=1\\n", "!cuda"]},', b'{"x": 1}]}'),
    "magics.ipynb": (b'{"cells": [{"cell_type": "code", "source": "', b"!", b'\\ncuda"}]}'),
    "equals.ipynb": (b'{"cells": [{"cell_type": "code", "source": "', b"a = (", b'cuda"}]}'),
    "questions.ipynb": (b'{"cells": [{"cell_type": "code", "source": "', b"a? ", b'\\ncuda!"}]}'),
    "calls.ipynb": (b'{"cells": [', b'{"cell_type": "code", "source": ["x.cuda()"]},' + b" " * 300, b'{"x": 1}]}'),
    "image.ipynb": (b'{"cells": [{"cell_type": "code", "source": "x.cuda()", "o": "', b"A" * 9, b'"}]}'),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_files_take_no_longer(name):
    begin, unit, end = LARGE[name]
    check(name, begin + unit * ((HALF - len(begin + end)) // len(unit)) + end, TARGETS[0])


def test_what_is_too_large_is_reported_once():
    [o] = port_file("a.yaml", b"device: cuda\n" * 400_000, TARGETS[0]).occurrences
    assert o.verdict == "needs-you"
    assert "too large" in o.reason


def test_a_file_without_cuda_words_costs_almost_nothing():
    data = b"x: [1, 2, 3] # nothing\n" * 20_000
    with within(0.1):
        assert port_file("a.yaml", data, TARGETS[0]).occurrences == []


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("gb18030", b""), ("latin-1", b"")]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_and_line_ends_are_kept(encoding, mark, newline):
    note = "# café" if encoding == "latin-1" else "# 显卡 cuda"
    lines = [note, "env:", "  CUDA_VISIBLE_DEVICES: 0", "  x: 1", ""]
    added = [*lines[:3], "  ASCEND_RT_VISIBLE_DEVICES: 0", *lines[3:]]
    result = port_file("a.yaml", mark + newline.join(lines).encode(encoding), TARGETS[0])
    assert result.data == mark + newline.join(added).encode(encoding)
