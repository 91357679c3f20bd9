"""The command line: exit codes, one-line errors, JSON."""

import base64
import json
import subprocess
import sys
import zlib

import pytest
from click.testing import CliRunner

from tests.report.samples import run
from xinqiao.cli import main
from xinqiao.record.files import write
from xinqiao.record.schema import Evidence


def call(*words):
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("words", [["--help"], ["chips", "--help"], ["run", "--help"], ["port", "--help"]])
def test_help(words):
    assert call(*words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["chip"], "no command 'chip'; did you mean chips"),
        (["chips", "910z"], "no chip '910z'; did you mean"),
        (["port", "nowhere", "--chip", "910c", "--check"], "nowhere: no such folder or file"),
        (["undo", "."], "no port to take back"),
        (["report", "none.json", "--out", "x.html"], "none.json: cannot be read"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(words, says):
    done = call(*words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_chips_as_json():
    rows = json.loads(call("chips", "--format", "json").stdout)
    assert rows["schema"] == 1
    one = json.loads(call("chips", "910c", "--format", "json").stdout)
    assert one["name"] == "ascend-910c"
    assert one["compute"]["fp16"]["source"]


def test_a_check_exits_1_on_findings_and_0_without(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    assert call("port", str(tmp_path), "--chip", "910c", "--check").exit_code == 0
    (tmp_path / "a.py").write_text("import torch\ntorch.cuda.synchronize()\n")
    found = call("port", str(tmp_path), "--chip", "910c", "--check")
    assert found.exit_code == 1
    assert "a.py:2:1: cuda-module [rewritten]" in found.stdout
    data = json.loads(call("port", str(tmp_path), "--chip", "910c", "--check", "--format", "json").stdout)
    assert data["schema"] == 1
    assert data["occurrences"][0]["verdict"] == "rewritten"


def test_importing_the_package_imports_no_torch():
    program = "import sys, xinqiao; assert not {'torch', 'click', 'rich', 'msgspec'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_proof_of_two_records_keeps_itself_and_its_page(tmp_path):
    nothing = base64.b64encode(zlib.compress(b"")).decode()
    kept = Evidence(
        kinds=[], sites=[], modules=[""], entries=nothing, left_out=0, printed=["loss 1.5"], failure=None,
        cuda_uses=[], reached={},
    )  # fmt: skip
    for name in ("a.json", "b.json"):
        write(run(evidence=kept), tmp_path / name)
    done = call("prove", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(tmp_path / "kept"))
    assert (done.exit_code, done.stdout.partition(":")[0]) == (0, "same")
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["page.html", "proof.json"]
    assert "=</span>" in (tmp_path / "kept" / "page.html").read_text(encoding="utf-8")
    assert call("report", str(tmp_path / "kept"), "--out", str(tmp_path / "x.html")).exit_code == 0
    assert "=</span>" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_a_folder_without_records_is_no_proof(tmp_path):
    done = call("report", str(tmp_path), "--out", str(tmp_path / "x.html"))
    assert done.exit_code == 2
    assert "none of the records" in done.stderr
