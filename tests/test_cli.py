"""The command line: exit codes, one-line errors, JSON."""

import base64
import json
import subprocess
import sys
import zlib
from pathlib import Path

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


@pytest.mark.parametrize(
    ("words", "full", "says"),
    [
        (["chips", "910z"], ["stderr"], ""),  # nobody can be told; the exit code says it
        (["chips"], ["stdout"], "xinqiao: the output: No space left on device\n"),
        (["chips", "--format", "json"], ["stdout"], "xinqiao: the output: No space left on device\n"),
        (["chips", "--format", "json"], ["stdout", "stderr"], ""),
    ],
)
def test_a_full_disk_under_the_output_is_exit_code_2(words, full, says):
    with Path("/dev/full").open("w") as disk:
        streams = {name: disk if name in full else subprocess.PIPE for name in ("stdout", "stderr")}
        done = subprocess.run([sys.executable, "-m", "xinqiao.cli", *words], text=True, check=False, **streams)
    assert (done.returncode, done.stderr or "") == (2, says)


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


SIZE_NUMBERS = {  # option → numbers that it refuses
    **dict.fromkeys(("chips", "input", "output", "context"), ("0", "-1", "1e30", "nan", "1.5", "99999999999999999999")),
    **dict.fromkeys(("tp", "pp", "dp", "ep", "cp"), ("0", "-8", "nan", "inf", "0.5", "99999999999999999999")),
    **dict.fromkeys(("batch-per-chip", "tpot-ms", "ttft-ms", "price"), ("0", "-1", "nan", "inf", "-inf", "1e300", "x")),
    "hit-rate": ("-0.1", "1.1", "nan", "inf", "half"),
    "spread": ("-0.1", "11", "nan", "wide"),
    "tokens": ("0", "-1", "nan", "inf", "1e30"),
    "lora-rank": ("0", "-4", "nan", "1000000"),
}  # fmt: skip


def refused(*words):
    """What one line on stderr says; nothing on stdout, exit code 2."""
    done = call("size", *words)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("xinqiao: ")
    return done.stderr


@pytest.mark.parametrize(("option", "number"), [(option, n) for option, ns in SIZE_NUMBERS.items() for n in ns])
def test_size_refuses_numbers_that_cannot_be_and_names_the_option(option, number):
    phase = "finetune" if option in ("tokens", "lora-rank") else "serve"
    assert f"--{option}" in refused("llama-3-8b", "--chip", "h100", "--phase", phase, f"--{option}", number)


def test_every_number_of_size_has_a_row_above():
    from xinqiao.cli import _SIZE_NUMBERS

    assert {name for name, *_ in _SIZE_NUMBERS} == set(SIZE_NUMBERS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["llama-3-8b", "--chip", "h100z"], "no chip 'h100z'; did you mean"),
        (["llama-3-8b", "--chip", "h100", "--chip", "910z"], "no chip '910z'; did you mean"),
        (["llama-3-8b"], "Missing option '--chip'"),
        (["llama-3-9b", "--chip", "h100"], "no model 'llama-3-9b'; did you mean llama-3-8b"),
        (["./nowhere", "--chip", "h100"], "./nowhere: no such file or folder"),
        (["llama-3-8b", "--chip", "h100", "--phase", "sleep"], "Invalid value for '--phase'"),
        (["llama-3-8b", "--chip", "h100", "--tokens", "1e12"], "--tokens means nothing in --phase serve"),
        (
            ["llama-3-8b", "--chip", "h100", "--lora-rank", "8", "--phase", "train"],
            "--lora-rank means nothing in --phase",
        ),
        (["llama-3-8b", "--chip", "h100", "--phase", "train", "--tpot-ms", "9"], "only in prefill, decode, serve"),
        (["llama-3-8b", "--chip", "h100", "--tp", "7"], "--tp 7: llama-3-8b has 32 heads; tp must divide them"),
        (["llama-3-8b", "--chip", "h100", "--chips", "8", "--dp", "3"], "= 3 does not divide the 8 devices of 8 chips"),
        (
            ["llama-3-8b", "--chip", "910c", "--chips", "8", "--dp", "3"],
            "= 3 does not divide the 16 devices of 8 chips",
        ),
        (["llama-3-8b", "--chip", "h100", "--chips", "8", "--tp", "8", "--dp", "8"], "= 64 does not divide"),
        (["llama-3-8b", "--chip", "h100", "--pp", "33"], "--pp 33: llama-3-8b has 32 layers"),
        (["llama-3-8b", "--chip", "h100", "--ep", "8"], "--ep 8: llama-3-8b has no experts"),
        (["qwen3-30b-a3b", "--chip", "h100", "--chips", "8", "--ep", "3"], "--ep 3: no plan on 8 devices"),
        (
            ["llama-3-8b", "--chip", "h100", "--context", "8193"],
            "8,193 tokens of context: llama-3-8b has 8,192 positions",
        ),
        (
            ["llama-3-8b", "--chip", "h100", "--input", "8000"],
            "8,512 tokens of context: llama-3-8b has 8,192 positions",
        ),
        (["llama-3-8b", "--chip", "910c", "--weights", "fp8"], "has no fp8; it has int8, bf16, fp16"),
        (["llama-3-8b", "--chip", "a100", "--attention", "fp8"], "--attention fp8: "),
        (["llama-3-8b", "--chip", "h100", "--weights", "fp9"], "--weights fp9: not one of "),
        (["llama-3-8b", "--chip", "h100", "--cache", "int3"], "--cache int3: not one of "),
        (
            ["llama-3-8b", "--chip", "h100", "--attention", "int4"],
            "--attention int4: not one of fp32, fp16, bf16, fp8, int8",
        ),
        (["deepseek-v3", "--chip", "h800", "--mtp", "nonsense"], "--mtp nonsense: write tokens drafted"),
        (["deepseek-v3", "--chip", "h800", "--mtp", "1:nan"], "--mtp 1:nan: 1 to 16 tokens drafted"),
        (["deepseek-v3", "--chip", "h800", "--mtp", "1:2"], "no more kept than drafted"),
        (["deepseek-v3", "--chip", "h800", "--mtp", "0:0"], "--mtp 0:0: 1 to 16 tokens drafted"),
        (["llama-3-8b", "--chip", "h100", "--software", "vlm"], "no software 'vlm'; did you mean vllm"),
        (["llama-3-8b", "--chip", "h100", "--node", "hgx-hoper"], "no node 'hgx-hoper'; did you mean hgx-hopper"),
        (["llama-3-8b", "--chip", "910c", "--node", "hgx-hopper"], "node 'hgx-hopper' is built with"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_size_refuses_what_cannot_be_in_one_line(words, says):
    assert says in refused(*words)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"model_type": "lama"}', "the architecture 'lama' is not known; did you mean llama"),
        ('{"hidden_size": 8}', "model_type: missing"),
        ("{", "not JSON"),
        ("[]", "not a table of keys"),
    ],
)
def test_size_refuses_a_config_that_it_does_not_know(tmp_path, text, says):
    (tmp_path / "config.json").write_text(text)
    assert says in refused(str(tmp_path), "--chip", "h100")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["llama-3-8b", "--chip", "h100"], 0),
        (["llama-3-70b", "--chip", "h100", "--chips", "1"], 1),
        (["llama-3-8b", "--chip", "h100", "--chips", "1", "--batch-per-chip", "100000"], 1),
        (["llama-3-8b", "--chip", "h200", "--chip", "mlu370-x4", "--chips", "1", "--batch-per-chip", "100"], 1),
        (["llama-3-8b", "--chip", "p800"], 0),  # memory is known; speed is not, and says why
        (["llama-3-8b", "--chip", "br166"], 0),  # neither is
        (["llama-3-8b", "--chip", "h100", "--phase", "finetune", "--lora-rank", "16", "--chips", "1"], 0),
        (["llama-3-8b", "--chip", "h100", "--phase", "train", "--chips", "1"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_size_exits_1_where_a_model_does_not_fit(words, code):
    done = call("size", *words)
    assert (done.exit_code, done.stderr) == (code, "")
    assert ("does not fit" in done.stdout) == (code == 1)


def test_size_as_json():
    row = json.loads(call("size", "llama-3-8b", "--chip", "910c", "--format", "json").stdout)
    assert (row["schema"], row["model"], row["chip"]) == (1, "llama-3-8b", "ascend-910c")
    two = json.loads(call("size", "llama-3-8b", "--chip", "910c", "--chip", "p800", "--format", "json").stdout)
    assert [answer["chip"] for answer in two["answers"]] == ["ascend-910c", "kunlun-p800"]
    assert two["answers"][1]["decode_tokens_per_second_per_chip"] is None
    assert "memory bandwidth" in two["answers"][1]["unknown"][0]


def test_size_imports_nothing_heavy():
    program = """
import sys
from xinqiao.cli import main
main(["size", "llama-3-70b", "--chip", "h200"], standalone_mode=False)
assert not {"torch", "numpy", "rich", "jinja2", "transformers", "asyncio"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("llama-3-70b on 2 × nvidia-h200")
