"""Installed packages that a project imports: found, listed apart, patched or translated, and never run by the port."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from tests.warm import python
from xinqiao import port as ports
from xinqiao.chips import catalog
from xinqiao.cli import main
from xinqiao.errors import InputError

CHIP = ports.Target(catalog.load("ascend-910c"))

LAYERS = '''"""A package that knows one device only: "cuda"."""
from __future__ import annotations

import torch
import torch.cuda as tc
import torch.nn as nn
from torch import cuda
from torch.cuda import current_device as current
from torch.cuda.amp import GradScaler, autocast

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TABLE = {"cuda": "fast", "cpu": "slow"}

class Own:
    def cuda(self):
        return "own"

def look():
    x = torch.ones(2, 2)
    y = x.cuda(non_blocking=True)
    z = torch.zeros(2, 2).cuda(0)
    model = nn.Linear(2, 2).cuda()
    with autocast(dtype=torch.bfloat16):
        made = model(y)
    tc.synchronize()
    cuda.empty_cache()
    return {
        "device": str(DEVICE),
        "moved": [y.device.type, z.device.type, model.weight.device.type, y.to(f"cuda:{current()}").device.type],
        "is_cuda": [x.is_cuda, y.is_cuda],
        "own": Own().cuda(),
        "speed": TABLE[y.device.type],
        "dtype": str(made.dtype),
        "scaler": GradScaler(enabled=False).is_enabled(),
        "count": torch.cuda.device_count(),
        "mapped": [t.device.type for t in map(torch.Tensor.cuda, [x])],
        "version": torch.version.cuda,
    }
'''
SCRIPT = """#!/usr/bin/env python
\"\"\"Train.\"\"\"
from __future__ import annotations

import json
import tiny
from tiny.layers import look

if __name__ == "__main__":
    print(json.dumps(look()))
"""


@pytest.fixture
def project(tmp_path):
    """With an environment of its own, in which `tiny-layers` is installed; importing it leaves a file `ran`."""
    folder = tmp_path / "project"
    site = folder / ".venv" / "lib" / "python3.11" / "site-packages"
    (site / "tiny").mkdir(parents=True)
    (site / "tiny" / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (site / "tiny" / "layers.py").write_text(LAYERS)
    (site / "tiny" / "data.bin").write_bytes(b"\0\1")
    (site / "unused").mkdir()
    (site / "unused" / "__init__.py").write_text("import torch\ntorch.cuda.synchronize()\n")
    for name, module in (("tiny_layers", "tiny"), ("unused", "unused")):
        info = site / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.2\n")
        (info / "top_level.txt").write_text(f"{module}\n")
        (info / "LICENSE").write_text("Do as you like.\n")
        (info / "RECORD").write_text(f"{module}/__init__.py,,\n{info.name}/LICENSE,,\n")
    (folder / "train.py").write_text(SCRIPT)
    return folder


def call(*words):
    return CliRunner().invoke(main, [str(w) for w in words])


def run(folder, *words, site):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "PYTHONDONTWRITEBYTECODE": ""}
    command = [python(), *words, folder / "train.py"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def site_of(project):
    return project / ".venv" / "lib" / "python3.11" / "site-packages"


VIRTUAL = ("-m", "xinqiao.cli", "run", "--chip", "ascend-910c", "--")


def test_packages_are_listed_apart_and_only_on_request(project, tmp_path):
    assert "dependencies" not in json.loads(
        call("port", project, "--chip", "910c", "--check", "--format", "json").stdout
    )
    words = ["port", project, "--chip", "910c", "--check", "--dependencies"]
    data = json.loads(call(*words, "--format", "json").stdout)
    assert data["occurrences"] == []
    [found] = data["dependencies"]
    assert (found["package"], found["version"], found["modules"]) == ("tiny-layers", "1.2", ["tiny"])
    assert found["summary"]["rewritten"] > 5
    assert {o["file"] for o in found["occurrences"]} == {"tiny/layers.py"}
    assert all(o["source"] for o in found["occurrences"])
    shown = call(*words).stdout
    assert "tiny-layers 1.2: " in shown
    assert "--patch tiny-layers" in shown and "--translate tiny-layers" in shown
    assert not (tmp_path / "ran").exists()


def test_pytorch_itself_is_no_finding(project):
    (project / "train.py").write_text("import torch\nimport triton\nimport xinqiao\n")
    assert ports.check(project, CHIP, ports.Packages()).dependencies == []


def test_the_projects_own_module_hides_an_installed_one(project):
    (project / "tiny.py").write_text("x = 1\n")
    assert ports.check(project, CHIP, ports.Packages()).dependencies == []


def test_what_is_known_of_a_package_is_said_with_its_source(project):
    info = site_of(project) / "accelerate-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: accelerate\nVersion: 0.1\n")
    (info / "top_level.txt").write_text("accelerate\n")
    (site_of(project) / "accelerate.py").write_text("import torch\ntorch.cuda.synchronize()\n")
    (project / "more.py").write_text("import accelerate\n")
    [found, _] = ports.check(project, CHIP, ports.Packages()).dependencies
    assert found.known.startswith("accelerate 1.15.0 has branches for 'npu' (accelerate 1.15.0, ")


def test_a_translated_package_runs_on_the_accelerator(project, tmp_path):
    out = tmp_path / "out"
    record = ports.port(project, CHIP, out, packages=ports.Packages(translate=("tiny",)))
    assert [(f.file, f.changed, f.added) for f in record.files] == [
        ("train.py", True, False),
        ("xinqiao_translate.py", False, True),
    ]
    assert record.dependencies[0].choice == "translate"
    lines = (out / "train.py").read_text().splitlines()
    assert lines[4] == "import xinqiao_translate  # before the packages that it translates"
    assert [*lines[:4], *lines[5:]] == SCRIPT.splitlines()
    said = run(out, *VIRTUAL, site=site_of(project))
    assert said == {
        "device": "npu",
        "moved": ["npu"] * 4,
        "is_cuda": [False, True],
        "own": "own",
        "speed": "fast",
        "dtype": "torch.bfloat16",
        "scaler": False,
        "count": said["count"],
        "mapped": ["npu"],
        "version": None,
    }
    assert said["count"] >= 1
    assert (site_of(project) / "tiny" / "layers.py").read_text() == LAYERS


def test_without_an_accelerator_a_translated_package_is_as_it_was(project, tmp_path):
    (site_of(project) / "tiny" / "layers.py").write_text(
        'import torch\ndef look():\n    return ["cuda", torch.cuda.is_available()]\n'
    )
    ports.port(project, CHIP, tmp_path / "out", packages=ports.Packages(translate=("tiny-layers",)))
    assert run(tmp_path / "out", site=site_of(project)) == ["cuda", False]


def test_other_packages_are_not_translated(project, tmp_path):
    (site_of(project) / "unused" / "__init__.py").write_text('NAME = "cuda"\n')
    (project / "train.py").write_text(
        "import tiny\nimport unused\nimport json\n"
        "if __name__ == '__main__':\n    print(json.dumps([unused.NAME, 'cuda is mine']))\n"
    )
    ports.port(project, CHIP, tmp_path / "out", packages=ports.Packages(translate=("tiny",)))
    assert run(tmp_path / "out", *VIRTUAL, site=site_of(project)) == ["cuda", "cuda is mine"]


def test_a_package_that_was_imported_too_early_is_an_error(project, tmp_path):
    ports.port(project, CHIP, tmp_path / "out", packages=ports.Packages(translate=("tiny",)))
    text = (tmp_path / "out" / "train.py").read_text()
    (tmp_path / "out" / "train.py").write_text(
        "import tiny\n" + text.replace("from __future__ import annotations\n", "")
    )
    with pytest.raises(AssertionError, match="import xinqiao_translate before tiny"):
        run(tmp_path / "out", *VIRTUAL, site=site_of(project))


def test_a_patched_package_is_found_first_and_runs_on_the_accelerator(project, tmp_path):
    (site_of(project) / "tiny" / "layers.py").write_text(
        'import torch\ndef look():\n    return torch.ones(2, device="cuda").device.type\n'
    )
    out = tmp_path / "out"
    record = ports.port(project, CHIP, out, packages=ports.Packages(patch=("tiny-layers",)))
    assert record.dependencies[0].choice == "patch"
    added = {f.file for f in record.files if f.added}
    assert added == {"tiny/__init__.py", "tiny/layers.py", "tiny/data.bin", "tiny/LICENSE"}
    assert (out / "tiny" / "data.bin").read_bytes() == b"\0\1"
    assert run(out, *VIRTUAL, site=site_of(project)) == "npu"


@pytest.mark.parametrize("packages", [ports.Packages(patch=("tiny",)), ports.Packages(translate=("tiny",))])
def test_undo_takes_packages_out_again_and_a_second_port_changes_nothing(project, packages):
    before = {p: p.read_bytes() for p in project.rglob("*") if p.is_file()}
    ports.port(project, CHIP, None, in_place=True, packages=packages)
    assert ports.diff(project, CHIP) == b""
    ports.undo(project)
    assert {p: p.read_bytes() for p in project.rglob("*") if p.is_file()} == before
    assert not (project / "tiny").exists()


def test_a_package_that_the_project_does_not_import_is_refused(project):
    with pytest.raises(InputError, match="no installed package 'tinny' that the project imports; did you mean tiny"):
        ports.check(project, CHIP, ports.Packages(translate=("tinny",)))
    with pytest.raises(InputError, match="no installed package 'unused'"):
        ports.check(project, CHIP, ports.Packages(patch=("unused",)))


def test_the_environment_that_runs_the_port_is_looked_at_too(project):
    (project / "train.py").write_text("import click.testing\n")
    found = ports.check(project, CHIP, ports.Packages(translate=("click",))).dependencies
    assert [(d.package, d.version) for d in found] == [("click", version("click"))]
