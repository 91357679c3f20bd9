"""What a port prints: JSON, a diff that git takes, SARIF, the rules."""

import json
import subprocess
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from xinqiao import port as ports
from xinqiao.chips import catalog
from xinqiao.cli import main
from xinqiao.port.patch import unified
from xinqiao.port.sarif import sarif
from xinqiao.record.files import read
from xinqiao.record.schema import Occurrence, PortRecord

CHIP = ports.Target(catalog.load("ascend-910c"))
BOUND = "import torch\ntorch.cuda.synchronize()\n"


def call(*words):
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.py").write_text(BOUND)
    (folder / "b.py").write_text("import torch\nx = torch.cuda.graphs  # ä\nprint('cuda is fast')\n")
    (folder / "old.py").write_text("print 'cuda'\n")
    (folder / "plain.py").write_text("x = 1\n")
    return folder


# JSON


def test_json_has_exactly_the_documented_keys(project):
    data = json.loads(call("port", project, "--chip", "910c", "--check", "--format", "json").stdout)
    assert list(data) == ["kind", "schema", "chip", "files", "occurrences", "summary"]
    assert data["schema"] == 1
    assert data["chip"] == "ascend-910c"
    assert set(data["occurrences"][0]) == {
        *("file", "line", "column", "end_line", "end_column", "rule", "verdict", "before", "after", "reason"),
        *("risky", "source"),
    }
    assert [(f["file"], f["changed"], "problem" in f) for f in data["files"]] == [
        ("a.py", True, False),
        ("b.py", False, False),
        ("old.py", False, True),
        ("plain.py", False, False),
    ]
    counts = {v: sum(o["verdict"] == v for o in data["occurrences"]) for v in ("rewritten", "safe", "needs-you")}
    assert {k: data["summary"][k] for k in counts} == counts
    assert data["summary"]["refused-by-chip"] == 0
    assert (data["summary"]["files"], data["summary"]["changed"], data["summary"]["lines"]) == (4, 1, 7)
    assert data["summary"]["seconds"] > 0


def test_every_occurrence_says_where_its_rule_has_its_facts(project):
    assert all(o.source for o in ports.check(project, CHIP).occurrences)


def test_the_record_and_the_printed_json_are_the_same(project, tmp_path):
    printed = call("port", project, "--chip", "910c", "--out", tmp_path / "out", "--record", tmp_path / "r.json",
                   "--format", "json").stdout  # fmt: skip
    assert json.loads((tmp_path / "r.json").read_text()) == json.loads(printed)
    assert msgspec.json.decode(printed, type=PortRecord) == read(tmp_path / "r.json")


def test_a_risky_place_is_marked_whether_or_not_it_is_rewritten(project):
    (project / "r.py").write_text("class Own:\n    def cuda(self): ...\n\n\ndef f(x):\n    return x.cuda()\n")
    for risky, verdict in ((False, "needs-you"), (True, "rewritten")):
        record = ports.check(project, ports.Target(CHIP.chip, risky=risky))
        [found] = [o for o in record.occurrences if o.file == "r.py"]
        assert (found.verdict, found.risky) == (verdict, True)
        words = ["port", project / "r.py", "--chip", "910c", "--check", *(["--risky"] if risky else [])]
        assert f"r.py:6:12: cuda-method [{verdict}, risky]" in call(*words).stdout


# Modes


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [
        ("x = 1\n", ["--check"], 0),
        ("x = 1\n", ["--diff"], 0),
        ("print('cuda is fast')\n", ["--check"], 0),
        (BOUND, ["--check"], 1),
        (BOUND, ["--diff"], 0),
        (BOUND, ["--out", "{out}"], 0),
        (BOUND + "import pycuda\n", ["--out", "{out}"], 1),
        (BOUND, ["--check", "--out", "{out}"], 2),
        (BOUND, ["--diff", "--in-place"], 2),
        (BOUND, [], 2),
        (BOUND, ["--in-place", "--out", "{out}"], 2),
    ],
)
def test_exit_codes(tmp_path, text, words, code):
    (tmp_path / "a.py").write_text(text)
    done = call("port", tmp_path / "a.py", "--chip", "910c", *(w.format(out=tmp_path / "out") for w in words))
    assert done.exit_code == code, done.output


# Diff


TEXTS = {
    "plain": BOUND.encode(),
    "CRLF": BOUND.replace("\n", "\r\n").encode(),
    "mixed line ends": b"import torch\r\ntorch.cuda.synchronize()\n",
    "no newline at the end": BOUND.rstrip().encode(),
    "CRLF without the last": BOUND.rstrip().replace("\n", "\r\n").encode(),
    "latin-1": b"# -*- coding: latin-1 -*-\n# caf\xe9\n" + BOUND.encode(),
    "byte order mark": b"\xef\xbb\xbf" + BOUND.encode(),
    "form feed and line separator": "import torch\n\x0c\nx = '\u2028'\ntorch.cuda.synchronize()\n".encode(),
}
NAMES = ["a.py", "with space.py", "ünï/芯桥.py", 'quote".py', "tab\t.py", "back\\slash.py"]


@pytest.mark.parametrize(
    ("name", "text"), [*((n, TEXTS["plain"]) for n in NAMES), *(("a.py", t) for t in TEXTS.values())]
)
def test_git_takes_the_diff(tmp_path, name, text):
    folder = tmp_path / "project"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(text)
    ports.port(folder, CHIP, tmp_path / "out")
    (tmp_path / "patch").write_bytes(ports.diff(folder, CHIP))
    git = ["git", "-C", folder, "-c", "core.autocrlf=false"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "apply", tmp_path / "patch"], check=True)
    assert (folder / name).read_bytes() == (tmp_path / "out" / name).read_bytes() != text


def test_git_takes_files_that_are_added(tmp_path):
    (tmp_path / "patch").write_bytes(unified("new/a.py", None, b"x = 1\n") + unified("empty.py", None, b""))
    subprocess.run(["git", "-C", tmp_path, "init", "-q"], check=True)
    subprocess.run(["git", "-C", tmp_path, "apply", tmp_path / "patch"], check=True)
    assert (tmp_path / "new/a.py").read_bytes() == b"x = 1\n"
    assert (tmp_path / "empty.py").read_bytes() == b""


# SARIF


def place(**changes):
    fields = {
        "file": "a.py", "line": 2, "column": 1, "end_line": 2, "end_column": 25, "rule": "cuda-module",
        "verdict": "rewritten", "before": "torch.cuda.synchronize()", "after": "x", "reason": "it has one",
    }  # fmt: skip
    return Occurrence(**{**fields, **changes})


def log(project, *places):
    record = ports.check(project, CHIP)
    if places:
        record.occurrences = list(places)
    return sarif(record, project, "1.0")


def test_sarif_says_what_was_found(project):
    data = json.loads(call("port", project, "--chip", "910c", "--check", "--format", "sarif").stdout)
    assert data["version"] == "2.1.0"
    [run] = data["runs"]
    driver = run["tool"]["driver"]
    for found in run["results"]:
        rule = driver["rules"][found["ruleIndex"]]
        assert rule["id"] == found["ruleId"]
        assert rule["help"]["text"] and rule["shortDescription"]["text"] and found["message"]["text"].endswith(".")
    first = run["results"][0]
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "a.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 2, "startColumn": 1, "endLine": 2, "endColumn": 23},
    }
    assert run["columnKind"] == "unicodeCodePoints"


@pytest.mark.parametrize(
    ("verdict", "level"),
    [("rewritten", "warning"), ("needs-you", "error"), ("refused-by-chip", "error"), ("safe", None)],
)
def test_sarif_levels(project, verdict, level):
    results = log(project, place(verdict=verdict))["runs"][0]["results"]
    assert [r["level"] for r in results] == ([level] if level else [])


@pytest.mark.parametrize(
    ("checkout", "file", "uri"),
    [
        ("project", "a.py", "a.py"),
        (".", "a.py", "project/a.py"),
        (None, "a.py", "a.py"),
        ("project", "sub dir/ä#.py", "sub%20dir/%C3%A4%23.py"),
    ],
)
def test_sarif_paths_are_relative_to_the_checkout(project, tmp_path, checkout, file, uri):
    if checkout:
        (tmp_path / checkout / ".git").mkdir()
    [found] = log(project, place(file=file))["runs"][0]["results"]
    assert found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_sarif_fingerprints_survive_a_move_and_differ_from_each_other(project):
    def prints(*places):
        return [r["partialFingerprints"]["xinqiaoPlace/v1"] for r in log(project, *places)["runs"][0]["results"]]

    assert prints(place(line=2)) == prints(place(line=9, end_line=9))
    assert len(set(prints(place(), place(line=9), place(before="y"), place(rule="amp"), place(file="b.py")))) == 5


# Rules


def test_rules_are_listed_and_one_is_shown(tmp_path):
    listed = call("rules").stdout.splitlines()
    assert any(line.startswith("is-cuda ") for line in listed)
    one = call("rules", "is-cuda").stdout
    assert all(part in one for part in ("What it does:", "Why:", "Unsafe when:", "Source:", "→"))
    assert call("rules", "is_cuda").stdout == one
    assert json.loads(call("rules", "--format", "json").stdout)["rules"][0]["title"]
    assert "no rule 'is-cda'; did you mean is-cuda" in call("rules", "is-cda").stderr


def test_every_rule_in_the_folder_has_a_page():
    folder = Path(ports.__file__).parent / "rules"
    listed = {line.split()[0] for line in call("rules").stdout.splitlines()}
    assert {p.stem.replace("_", "-") for p in folder.glob("[a-z]*.py")} <= listed
