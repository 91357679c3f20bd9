"""A whole project: files in, files out, and back."""

import re
import subprocess
import sys

import pytest

from xinqiao import port as ports
from xinqiao.chips import catalog
from xinqiao.errors import InputError

CHIP = ports.Target(catalog.load("ascend-910c"))
TRAINING = """import json, sys
import torch

device = "cuda:0" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
model = torch.nn.Linear(4, 2).to(device)
losses = []
for _ in range(3):
    x = torch.randn(8, 4, device=device)
    loss = model(x).square().mean()
    loss.backward()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    losses.append(loss.item())
print(json.dumps(losses))
"""


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "train.py").write_text(TRAINING)
    (folder / "sub" / "plain.py").write_text("x = 1\n")
    (folder / "launch.sh").write_text("#!/bin/sh\nexport CUDA_HOME=/usr/local/cuda\n# cuda in a comment\n")
    (folder / "launch.sh").chmod(0o755)
    return folder


def bytes_of(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and ".xinqiao-port" not in p.parts
    }


def test_out_has_the_whole_project_with_the_rewritten_files(project, tmp_path):
    record = ports.port(project, CHIP, tmp_path / "out")
    ported = bytes_of(tmp_path / "out")
    assert ported.keys() == bytes_of(project).keys()
    assert record.summary.changed == 1
    assert ported["sub/plain.py"] == b"x = 1\n"
    assert b"ACCELERATOR" in ported["train.py"]
    assert (tmp_path / "out" / "launch.sh").stat().st_mode & 0o111


def test_undo_is_byte_exact(project, tmp_path):
    before = bytes_of(project)
    ports.port(project, CHIP, None, in_place=True)
    assert bytes_of(project) != before
    assert ports.undo(project) == ["train.py"]
    assert bytes_of(project) == before


def test_undo_after_two_ports_goes_back_to_the_first(project):
    before = bytes_of(project)
    ports.port(project, CHIP, None, in_place=True)
    (project / "more.py").write_text("import torch\ntorch.cuda.synchronize()\n")
    ports.port(project, CHIP, None, in_place=True)
    ports.undo(project)
    assert {k: v for k, v in bytes_of(project).items() if k != "more.py"} == before


def test_undo_refuses_what_was_edited_since(project):
    ports.port(project, CHIP, None, in_place=True)
    (project / "train.py").write_text("mine = 1\n")
    with pytest.raises(InputError, match=r"train\.py: changed since the port"):
        ports.undo(project)
    assert (project / "train.py").read_text() == "mine = 1\n"


def test_a_port_of_a_port_changes_nothing(project, tmp_path):
    ports.port(project, CHIP, tmp_path / "out")
    assert ports.diff(tmp_path / "out", CHIP) == b""


def test_diff_and_check_write_nothing(project):
    before = bytes_of(project)
    assert b"+device = " in ports.diff(project, CHIP)
    assert ports.check(project, CHIP).summary.changed == 1
    assert bytes_of(project) == before


@pytest.mark.parametrize(
    ("encode", "name"),
    [
        (lambda t: t.replace("\n", "\r\n").encode(), "CRLF"),
        (lambda t: b"\xef\xbb\xbf" + t.encode(), "byte order mark"),
        (lambda t: ("# -*- coding: latin-1 -*-\n# café\n" + t).encode("latin-1"), "latin-1"),
        (lambda t: ('"""Ünïcödé."""\n' + t).encode(), "UTF-8"),
        (lambda t: t.rstrip("\n").encode(), "no newline at the end"),
    ],
)
def test_encodings_and_line_ends_are_kept(project, encode, name):
    original = encode(TRAINING)
    (project / "train.py").write_bytes(original)
    ports.port(project, CHIP, None, in_place=True)
    ported = (project / "train.py").read_bytes()
    assert b"ACCELERATOR" in ported, name
    assert original.startswith(b"\xef\xbb\xbf") == ported.startswith(b"\xef\xbb\xbf")
    assert (b"\r\n" in original) == (b"\r\n" in ported)
    assert len(re.findall(rb"(?<!\r)\n", ported)) == 0 or b"\r\n" not in original
    untouched = [line for line in original.splitlines() if b"cuda" not in line]
    assert all(line in ported for line in untouched)
    ports.undo(project)
    assert (project / "train.py").read_bytes() == original


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"print 'cuda'\n", "not Python 3"),
        (b"x = 'cuda\n", "not Python 3"),
        (b"\xff\xfecuda\x00", "not Python 3"),
        (b"# coding: no-such-codec\nx='cuda'\n", "not Python 3"),
    ],
)
def test_what_cannot_be_parsed_is_said_and_left(project, tmp_path, data, reason):
    (project / "odd.py").write_bytes(data)
    record = ports.port(project, CHIP, tmp_path / "out")
    [found] = [o for o in record.occurrences if o.file == "odd.py"]
    assert found.verdict == "needs-you"
    assert reason in found.reason
    assert (tmp_path / "out" / "odd.py").read_bytes() == data


def test_a_symlink_loop_is_no_trouble(project, tmp_path):
    (project / "sub" / "again").symlink_to(project)
    (project / "link.py").symlink_to("train.py")
    record = ports.port(project, CHIP, tmp_path / "out")
    assert record.summary.changed == 1
    assert (tmp_path / "out" / "link.py").is_symlink()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda p, t: ports.port(p / "none", CHIP, t / "out"), "no such folder or file"),
        (lambda p, t: ports.port(p, CHIP, p / "out"), "inside the project"),
        (lambda p, t: ports.port(p, CHIP, None), "say where the port goes"),
        (lambda p, t: ports.port(p, CHIP, t), "not empty"),
        (lambda p, t: ports.undo(p), "no port to take back"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(project, tmp_path, prepare, message):
    before = bytes_of(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        prepare(project, tmp_path)
    assert "\n" not in str(caught.value)
    assert bytes_of(tmp_path) == before


def test_uncommitted_changes_are_not_written_over(project):
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(project), *command], check=True)
    (project / "train.py").write_text(TRAINING + "\n")
    with pytest.raises(InputError, match="not committed"):
        ports.port(project, CHIP, None, in_place=True)
    assert ports.port(project, CHIP, None, in_place=True, force=True).summary.changed == 1


def test_the_project_is_never_run(project, tmp_path):
    (project / "evil.py").write_text(f"import torch\nopen({str(tmp_path / 'ran')!r}, 'w')\ntorch.cuda.init()\n")
    ports.check(project, CHIP)
    assert not (tmp_path / "ran").exists()


def test_the_port_computes_what_the_original_computes_on_a_cpu(project, tmp_path):
    ports.port(project, CHIP, tmp_path / "out")
    outputs = [
        subprocess.run([sys.executable, str(d / "train.py")], capture_output=True, text=True, check=True).stdout
        for d in (project, tmp_path / "out")
    ]
    assert outputs[0] == outputs[1] != ""


def test_no_cuda_word_is_silent(project):
    """Counted without the engine: each cuda or nccl in code, outside comments and the user's own names."""
    record = ports.check(project, CHIP)
    covered = {(o.file, line) for o in record.occurrences for line in range(o.line, o.end_line + 1)}
    for number, line in enumerate(TRAINING.splitlines(), 1):
        if re.search(r"cuda|nccl", line):
            assert ("train.py", number) in covered, line
    assert ("launch.sh", 2) in covered
    assert ("launch.sh", 3) not in covered
