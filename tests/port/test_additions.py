"""Files that a port adds: importable from every kind of project, taken back by undo, written once."""

import os
import subprocess
import sys

import pytest

from tests.warm import python
from xinqiao import port as ports
from xinqiao.chips import catalog
from xinqiao.errors import InputError

CHIP = ports.Target(catalog.load("ascend-910c"))
USE = "import torch\nfrom flash_attn import flash_attn_func\n"
CALL = "x = torch.ones(1, 3, 2, 4)\nprint(flash_attn_func(x, x, x, causal=True).sum().item())\n"
PROGRAM = USE + CALL + 'if __name__ == "__main__":\n    print("", end="")\n'
FROM_SRC = "import sys; sys.path.insert(0, 'src')\n"
# Files of a project, how it is started, and from which folder.
LAYOUTS = {
    "one script": ({"train.py": PROGRAM}, ["train.py"], "."),
    "a script in a folder": ({"tools/train.py": PROGRAM}, ["tools/train.py"], "."),
    "a package beside a script": (
        {
            "net/__init__.py": "",
            "net/deep/__init__.py": "",
            "net/deep/attention.py": USE,
            "train.py": "from net.deep.attention import *\n" + CALL,
        },
        ["train.py"],
        ".",
    ),
    "a package under src": (
        {
            "src/net/__init__.py": "",
            "src/net/attention.py": USE,
            "run.py": FROM_SRC + "from net.attention import *\n" + CALL,
        },
        ["run.py"],
        ".",
    ),
    "a package started by -m": (
        {"net/__init__.py": "", "net/main.py": "from . import other\n" + PROGRAM, "net/other.py": ""},
        ["-m", "net.main"],
        ".",
    ),
    "folders without __init__": (
        {"models/attention.py": USE, "train.py": "from models.attention import *\n" + CALL},
        ["train.py"],
        ".",
    ),
    "a script inside a package, from elsewhere": (
        {"net/__init__.py": "", "net/train.py": PROGRAM},
        ["../net/train.py"],
        "net",
    ),
}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not {"__pycache__", ".xinqiao-port", ".git"} & set(p.parts)
    }


@pytest.mark.parametrize(("files", "command", "where"), LAYOUTS.values(), ids=LAYOUTS)
def test_it_is_found_from_every_kind_of_project(files, command, where, tmp_path):
    project = write(tmp_path / "project", files)
    ports.port(project, CHIP, tmp_path / "out")
    run = subprocess.run(
        [python(), *command], cwd=tmp_path / "out" / where, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert float(run.stdout) == 24.0


@pytest.mark.parametrize(("files", "command", "where"), LAYOUTS.values(), ids=LAYOUTS)
def test_undo_takes_it_away_again(files, command, where, tmp_path):
    project = write(tmp_path / "project", files)
    before, folders = tree(project), {p for p in project.rglob("*") if p.is_dir()}
    ports.port(project, CHIP, None, in_place=True)
    assert any("xinqiao_substitutes" in name for name in tree(project))
    for added in [*project.rglob("xinqiao_substitutes")]:
        (added / "__pycache__").mkdir()  # as a run leaves it
    undone = ports.undo(project)
    assert {p for p in undone if "xinqiao_substitutes" in p}
    assert tree(project) == before
    assert {p for p in project.rglob("*") if p.is_dir() and p.name != "__pycache__"} == folders


@pytest.mark.parametrize(("files", "command", "where"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_second_port_changes_nothing(files, command, where, tmp_path):
    project = write(tmp_path / "project", files)
    ports.port(project, CHIP, tmp_path / "out")
    assert ports.diff(tmp_path / "out", CHIP) == b""
    assert not {o.verdict for o in ports.check(tmp_path / "out", CHIP).occurrences} & {"rewritten", "needs-you"}
    before = tree(tmp_path / "out")
    ports.port(tmp_path / "out", CHIP, None, in_place=True)
    assert tree(tmp_path / "out") == before


def test_a_later_port_adds_what_is_missing_and_undo_takes_all(tmp_path):
    project = write(tmp_path, {"a.py": USE})
    before = tree(project)
    ports.port(project, CHIP, None, in_place=True)
    write(project, {"b.py": "from apex.optimizers import FusedAdam\n"})
    ports.port(project, CHIP, None, in_place=True)
    assert (project / "xinqiao_substitutes/apex_optimizers.py").exists()
    ports.undo(project)
    assert tree(project) == {**before, "b.py": b"from apex.optimizers import FusedAdam\n"}


def test_undo_refuses_what_was_written_into_since(tmp_path):
    project = write(tmp_path, {"a.py": USE})
    ports.port(project, CHIP, None, in_place=True)
    mine = project / "xinqiao_substitutes/flash_attn.py"
    mine.write_text("mine = 1\n")
    with pytest.raises(InputError, match=r"flash_attn\.py: changed since the port"):
        ports.undo(project)
    assert mine.read_text() == "mine = 1\n"


def test_the_diff_can_be_applied(tmp_path):
    project = write(tmp_path / "project", LAYOUTS["a package under src"][0])
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    ports.port(project, CHIP, tmp_path / "out")
    subprocess.run(["git", "apply"], input=ports.diff(project, CHIP), cwd=project, check=True)
    assert tree(project) == tree(tmp_path / "out")


def test_on_cuda_the_package_itself_is_used(tmp_path):
    """A virtual CUDA chip and a stand-in for the package: the port calls that, as the original does."""
    fake = "def flash_attn_func(*a, **k):\n    return 'the package itself'\n"
    main = "from flash_attn import flash_attn_func\nprint(flash_attn_func())\n"
    project = write(tmp_path / "project", {"train.py": main})
    ports.port(project, CHIP, tmp_path / "out")
    write(tmp_path / "lib", {"flash_attn/__init__.py": fake})
    path = ":".join([str(tmp_path / "lib"), *(p for p in sys.path if p)])
    for folder in ("project", "out"):
        script = str(tmp_path / folder / "train.py")
        command = [python(), "-m", "xinqiao.cli", "run", "--chip", "nvidia-h200", script]
        environment = {**os.environ, "PYTHONPATH": path}
        run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert "the package itself" in run.stdout, run.stderr
