"""The command: what it says, what it exits with, and what it refuses."""

import json

import pytest

from tests.device.programs import cli

ORIGINAL = """import torch

torch.manual_seed(0)
net = torch.nn.Linear(4, 2).cuda()
x = torch.randn(8, 4).cuda()
for step in range(3):
    loss = net(x).square().mean()
    print("step", step, "loss", loss.item())
"""
PORT = ORIGINAL.replace(".cuda()", '.to("npu")').replace("import torch\n", "import torch, torch_npu\n")


@pytest.fixture
def prove(tmp_path):
    def run(original, port, *options, arguments=()):
        for name, text in (("a", original), ("b", port)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "train.py").write_text(text)
        words = ("prove", "a", "b", "--chip", "ascend-910c", *options)
        done = cli(*words, "--", "train.py", *arguments, folder=tmp_path)
        return done

    return run


def proof(done):
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("as it is", "", ""),
        ("no seed of its own", "torch.manual_seed(0)\n", ""),
        ("an assignment", "    print(", "    x[0] = 3\n    x[1, 2] = step\n    print("),
        ("a mask that needs a sync", "    print(", "    x[x > 0.5] = 0\n    print("),
        ("half precision", "net = torch.nn.Linear(4, 2)", "net = torch.nn.Linear(4, 2).half()"),
        ("dropout", "net(x)", "torch.nn.functional.dropout(net(x), 0.5)"),
    ],
)
def test_the_same_program_is_the_same(prove, name, before, after):
    def changed(text):
        text = text.replace(before, after) if before else text
        return text.replace("randn(8, 4)", "randn(8, 4).half()") if name == "half precision" else text

    done = prove(changed(ORIGINAL), changed(PORT), "--format", "json")
    found = proof(done)
    assert (found["verdict"], done.returncode) == ("same", 0), found["partings"]
    assert found["numbers"] == found["numbers_equal"] == 3
    assert found["printed"] == found["printed_equal"] == 3
    assert found["changed"] == 3
    assert found["unproven"] == []


@pytest.mark.parametrize(
    ("name", "old", "new", "kind", "line"),
    [
        ("other values", "square()", "abs()", "dtype|missing|replaced|values|extra", 7),
        ("another learning input", "torch.randn(8, 4)", "torch.ones(8, 4)", "values", 5),
        ("a crash", "loss.item()", "loss.items()", "failure", 8),
        ("a CUDA call left", "    print(", "    torch.cuda.is_available()\n    print(", "cuda", 8),
        ("another number printed", '"loss", loss.item()', '"loss", loss.item() + 1', "printed", None),
    ],
)
def test_where_they_part(prove, name, old, new, kind, line):
    done = prove(ORIGINAL, PORT.replace(old, new), "--format", "json")
    found = proof(done)
    assert (found["verdict"], done.returncode) == ("differs", 1)
    first = found["partings"][0]
    assert first["kind"] in kind.split("|")
    assert line is None or first["port"]["line"] == line
    assert first["weight"] == "differs"


def test_people_read_the_verdict_first(prove):
    done = prove(ORIGINAL, PORT.replace("square()", "sin().square()"))
    lines = done.stdout.splitlines()
    assert lines[0].startswith("differs: train.py:7")
    assert "original on a virtual NVIDIA H200" in lines[1]
    assert "not the chip's numerics" in done.stdout


def test_what_never_ran_is_unproven(prove):
    branch = "if step > 5:\n        x = x.cuda()\n    print("
    found = proof(
        prove(
            ORIGINAL.replace("print(", branch),
            PORT.replace("print(", branch.replace(".cuda()", '.to("npu")')),
            "--format",
            "json",
        )
    )
    assert found["verdict"] == "same"
    assert [(u["file"], u["line"], u["text"]) for u in found["unproven"]] == [("train.py", 9, 'x = x.to("npu")')]


def test_whole_tensors_on_demand(prove, tmp_path):
    done = prove(ORIGINAL, PORT.replace("loss = net(x)", "loss = net(x + 1e-3)"), "--whole", "--format", "json")
    assert any("elements differ, relative distance" in d for p in proof(done)["partings"] for d in p["details"])


def test_records_from_anywhere(prove, tmp_path):
    prove(ORIGINAL, PORT, "--out", "kept")
    again = cli("prove", "kept/original.json", "kept/port.json", "--format", "json", folder=tmp_path)
    assert again.returncode == 0
    assert proof(again)["verdict"] == "same"
    assert (tmp_path / "kept" / "page.html").exists()


def test_a_device_that_is_there_is_compared_with_a_virtual_one(prove, tmp_path):
    """This machine's CPU stands for the real device: the journal is PyTorch's own, above the kernels."""
    chip = tmp_path / "thischip.toml"
    chip.write_text(
        'title = "This CPU"\nvendor = "none"\nstatus = "shipping"\n'
        '[torch]\ndevice = "cpu"\npackage = "torch"\ncollective = "gloo"\nconfidence = "measured"\nsource = "here"\n'
    )
    (tmp_path / "on_cpu.py").write_text(ORIGINAL.replace(".cuda()", ""))
    (tmp_path / "on_cuda.py").write_text(ORIGINAL)
    for name, script, on in (("cpu.json", "on_cpu.py", chip), ("cuda.json", "on_cuda.py", "nvidia-h200")):
        done = cli("run", "--chip", on, "--record", name, "--evidence", "--", script, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    found = proof(cli("prove", "cuda.json", "cpu.json", "--format", "json", folder=tmp_path))
    assert found["verdict"] == "same", found["partings"]
    assert found["port"]["virtual"] is False
    assert found["numbers_equal"] == found["numbers"] == 3
    assert found["modules_equal"] == found["modules"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prove", "a", "b", "--chip", "ascend-910c", "--", "none.py"), "no such script"),
        (("prove", "a", "b", "--", "train.py"), "--chip NAME"),
        (("prove", "a", "b", "--chip", "910x", "--", "train.py"), "no chip '910x'"),
        (("prove", "a/train.py", "b/train.py"), "not a record"),
        (("prove", "a", "b", "--chip", "ascend-910c", "--", "train.py"), "the original itself fails"),
        (("run", "--chip", "nvidia-h200", "--evidence", "--", "a/train.py"), "--record FILE"),
    ],
)
def test_wrong_input_is_one_line(words, said, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.py").write_text("import torch\nraise ValueError('no data')\n")
    done = cli(*words, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_after_a_crash_only_the_crash_is_reported(prove):
    found = proof(prove(ORIGINAL, PORT.replace("loss.item()", "loss.items()"), "--format", "json"))
    assert [p["kind"] for p in found["partings"] if p["weight"] == "differs"] == ["failure"]
