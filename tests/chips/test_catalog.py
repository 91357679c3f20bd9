"""Finding chips: names, tails, plug-ins."""

import subprocess
import sys

import pytest

from xinqiao.chips import catalog
from xinqiao.chips.read import FOLDER
from xinqiao.errors import InputError

ACME = """
title = "Acme One"
vendor = "Acme"
status = "shipping"
[torch]
device = "acme"
collective = "accl"
confidence = "vendor"
source = "Acme"
"""


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ascend-910c", "ascend-910c"),
        ("910c", "ascend-910c"),
        ("910C", "ascend-910c"),
        ("910b", "ascend-910b"),
        ("910b4", "ascend-910b4"),
        ("910b4-1", "ascend-910b4-1"),
        ("h200", "nvidia-h200"),
        ("atlas-350", "ascend-atlas-350"),
        ("mlu370-x8", "cambricon-mlu370-x8"),
        ("x8", "cambricon-mlu370-x8"),
        ("p800", "kunlun-p800"),
        (str(FOLDER / "metax-c500.toml"), "metax-c500"),
    ],
)
def test_names_tails_and_paths(typed, name):
    assert catalog.load(typed).name == name


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("ascend-910d", "no chip 'ascend-910d'; did you mean ascend-910"),
        ("h300", "no chip 'h300'; did you mean h"),
        ("910", "no chip '910'; did you mean"),
        ("zzzz", "no chip 'zzzz'; `xinqiao chips` lists all"),
        ("", "no chip ''; `xinqiao chips` lists all"),
    ],
)
def test_unknown_names_get_the_nearest(typed, message):
    with pytest.raises(InputError) as error:
        catalog.load(typed)
    assert str(error.value).startswith(message)


def test_names_are_the_files():
    assert set(catalog.names()) >= {path.stem for path in FOLDER.glob("*.toml")}
    assert catalog.names() == sorted(catalog.names())
    assert [chip.name for chip in catalog.all_chips()] == catalog.names()
    assert catalog.problems() == []


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Install a plug-in: `plug_in(target, {file: text})` -> its folder."""

    def install(target, files):
        info = tmp_path / "acme_chips-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-chips\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{catalog.GROUP}]\nacme = {target}\n")
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        return tmp_path

    return install


@pytest.mark.parametrize("package", ["acme_chips", "acme_chips.data"])
def test_a_plug_in_adds_chips_and_none_of_its_code_runs(plug_in, package):
    folder = package.replace(".", "/")
    explode = "raise RuntimeError('imported')"
    plug_in(package, {"acme_chips/__init__.py": explode, f"{folder}/acme-one.toml": ACME})
    assert "acme-one" in catalog.names()
    assert catalog.load("acme-one").title == catalog.load("one").title == "Acme One"
    assert catalog.problems() == []
    assert "acme_chips" not in sys.modules


def test_a_tail_that_fits_two_chips_lists_both(plug_in):
    plug_in("acme_chips", {"acme_chips/__init__.py": "", "acme_chips/acme-910c.toml": ACME})
    with pytest.raises(InputError, match="chip '910c' is ambiguous: acme-910c, ascend-910c; give the whole name"):
        catalog.load("910c")
    assert catalog.load("ascend-910c").vendor == "Huawei"


@pytest.mark.parametrize(
    ("target", "files", "problem"),
    [
        ("acme_absent", {}, "plug-in 'acme': no package 'acme_absent'"),
        ("acme_mod", {"acme_mod.py": ""}, "plug-in 'acme': no package 'acme_mod'"),
        ("acme_empty", {"acme_empty/__init__.py": ""}, "plug-in 'acme': no .toml file in "),
        ("!", {}, "plug-in 'acme': no package '!'"),
        ("acme_same", {"acme_same/nvidia-h200.toml": ACME}, "left out: "),
        ("acme_bad", {"acme_bad/acme-bad.toml": "title = 1"}, "acme-bad.toml: title: expected str, got int"),
    ],
)
def test_a_broken_plug_in_is_reported_and_harms_nobody(plug_in, target, files, problem):
    plug_in(target, files)
    [found] = catalog.problems()
    assert problem in found
    assert "\n" not in found
    assert catalog.load("nvidia-h200").vendor == "NVIDIA"
    assert len(catalog.all_chips()) == len(list(FOLDER.glob("*.toml")))


def test_chips_need_no_torch_and_no_rich():
    program = (
        "import sys; from xinqiao.chips.catalog import load; from xinqiao.chips.support import support; "
        "support(load('910c'), 'aten::mm', 'float32'); import xinqiao.chips.show; "
        "print(sorted({'torch', 'rich', 'numpy'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
