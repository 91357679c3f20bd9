"""Where a port writes: never over work that is nowhere else, never through a link, never half a file; and back."""

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from xinqiao import port as ports
from xinqiao.chips import catalog
from xinqiao.errors import InputError
from xinqiao.port import commit, manifest
from xinqiao.port.commit import Change

CHIP = ports.Target(catalog.load("ascend-910c"))
BOUND = "import torch\ntorch.cuda.synchronize()\n"
PORTED = b"import torch\ntorch.accelerator.synchronize()\n"


def tree(folder):
    """Every file with its bytes and permissions, every link with its target, every folder."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a.py").write_text(BOUND)
    (folder / "sub" / "b.py").write_text(BOUND)
    (folder / "sub" / "b.py").chmod(0o755)
    (folder / "plain.txt").write_text("x\n")
    return folder


def git(folder, *words):
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words]
    return subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def checkout(project):
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "x")
    return project


def in_place(folder, **how):
    return ports.port(folder, CHIP, None, in_place=True, **how)


# In place, and back


def test_undo_brings_back_bytes_permissions_and_folders(project):
    before = tree(project)
    changes = {
        "a.py": Change((project / "a.py").read_bytes(), b"new\n"),
        "sub/b.py": Change((project / "sub" / "b.py").read_bytes(), b"new\n"),
        "helpers/deep/new.py": Change(None, b"added\n"),
    }
    commit.in_place(project, changes, "a-chip")
    assert (project / "helpers/deep/new.py").read_bytes() == b"added\n"
    assert stat.S_IMODE((project / "sub" / "b.py").stat().st_mode) == 0o755
    (project / "sub" / "b.py").chmod(0o600)
    ports.undo(project)
    assert tree(project) == before


def test_a_file_that_the_port_added_and_somebody_filled_in_is_not_taken_away(project):
    commit.in_place(project, {"helper.py": Change(None, b"added\n")}, "a-chip")
    (project / "helper.py").write_text("mine\n")
    with pytest.raises(InputError, match=r"helper\.py: changed since the port"):
        ports.undo(project)
    assert (project / "helper.py").read_text() == "mine\n"


def test_one_file_is_a_project(project):
    before = tree(project)
    record = in_place(project / "a.py")
    assert [(f.file, f.changed) for f in record.files] == [("a.py", True)]
    assert (project / "a.py").read_bytes() == PORTED
    assert (project / "sub" / "b.py").read_text() == BOUND
    in_place(project / "sub" / "b.py")
    assert ports.undo(project / "a.py") == ["a.py"]
    assert ports.undo(project / "sub") == ["b.py"]
    assert tree(project) == before


def test_one_file_goes_to_a_folder(project, tmp_path):
    ports.port(project / "a.py", CHIP, tmp_path / "out")
    assert {n for n in tree(tmp_path / "out") if not n.startswith(manifest.FOLDER)} == {"a.py"}
    assert (tmp_path / "out" / "a.py").read_bytes() == PORTED


def test_originals_are_kept_compressed_and_once(project):
    big = BOUND + "# a long comment\n" * 100_000
    for name in ("big.py", "same.py"):
        (project / name).write_text(big)
    in_place(project)
    kept = list((project / manifest.FOLDER).rglob("*"))
    assert sum(p.stat().st_size for p in kept if p.is_file()) < len(big) / 50
    ports.undo(project)
    assert (project / "big.py").read_text() == big


# A copy


def test_a_copy_has_everything_and_undo_makes_it_the_original(project, tmp_path):
    (project / "link").symlink_to("sub")
    (project / "dangling").symlink_to("nowhere")
    before = tree(project)
    out = tmp_path / "deep" / "out"
    ports.port(project, CHIP, out)
    assert tree(project) == before
    assert (out / "a.py").read_bytes() == PORTED
    ports.undo(out)
    assert tree(out) == before


def test_folders_and_files_that_nobody_may_write_to_are_copied(project, tmp_path):
    (project / "sub" / "b.py").chmod(0o444)
    (project / "sub").chmod(0o555)
    ports.port(project, CHIP, tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "b.py").read_bytes() == PORTED
    assert tree(tmp_path / "out")["sub/b.py"][1] == 0o444
    for folder in (project, tmp_path / "out"):
        (folder / "sub").chmod(0o755)


def test_a_second_port_to_the_same_folder_keeps_what_programs_left_there(project, tmp_path):
    out = tmp_path / "out"
    ports.port(project, CHIP, out)
    (out / "checkpoint.pt").write_bytes(b"precious")
    (project / "more.py").write_text(BOUND)
    ports.port(project, CHIP, out)
    assert (out / "checkpoint.pt").read_bytes() == b"precious"
    assert (out / "more.py").read_bytes() == PORTED
    assert sorted(ports.undo(out)) == ["a.py", "more.py", "sub/b.py"]
    assert (out / "a.py").read_text() == BOUND


def test_force_writes_beside_what_is_there(project, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    (tmp_path / "out" / "a.py").write_text("mine")
    ports.port(project, CHIP, tmp_path / "out", force=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    assert (tmp_path / "out" / "a.py").read_bytes() == PORTED


# What is refused: nothing changes, anywhere


def edit_ported(project, out):
    ports.port(project, CHIP, out)
    (out / "a.py").write_text("mine\n")


def edit_copied(project, out):
    ports.port(project, CHIP, out)
    (out / "plain.txt").write_text("mine\n")
    os.utime(out / "plain.txt", (2**32, 2**32))


def link_in_the_way(project, out):
    ports.port(project, CHIP, out)
    (out / "sub").rename(out.with_name("elsewhere"))
    (out / "sub").symlink_to(out.with_name("elsewhere"))


def folder_in_the_way(project, out):
    ports.port(project, CHIP, out)
    (project / "more.py").write_text(BOUND)
    (out / "more.py").mkdir()


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda p, out: out.write_text("a file"), "out: a file; choose a folder"),
        (lambda p, out: (out.mkdir(), (out / "x").write_text("")), "not empty; choose another folder, or --force"),
        (edit_ported, r"a\.py: changed since the last port"),
        (edit_copied, r"plain\.txt: changed since the last port"),
        (link_in_the_way, "sub: a link; xinqiao does not write through it"),
        (folder_in_the_way, r"more\.py: a folder, where the port writes a file"),
    ],
)
def test_a_folder_with_work_in_it_is_refused(project, tmp_path, prepare, says):
    prepare(project, tmp_path / "out")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=says) as caught:
        ports.port(project, CHIP, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("project_is", "out", "says"),
    [
        (".", ".", "the project itself"),
        (".", "sub/out", "inside the project"),
        (".", "link-to-self/out", "inside the project"),
        ("a.py", ".", r"holds a\.py itself"),
        ("plain.txt", "../out", r"neither a folder nor a \.py file"),
    ],
)
def test_a_copy_does_not_go_into_the_project(project, project_is, out, says):
    (project / "link-to-self").symlink_to(".")
    before = tree(project)
    with pytest.raises(InputError, match=says):
        ports.port(project / project_is, CHIP, project / out, force=True)
    assert tree(project) == before


def change_tracked(folder):
    (folder / "plain.txt").write_text("y\n")


def add_untracked(folder):
    (folder / "new.py").write_text(BOUND)


def add_ignored(folder):
    (folder / ".git" / "info" / "exclude").write_text("new.py\n")
    (folder / "new.py").write_text(BOUND)


def edit_after_a_port(folder):
    in_place(folder)
    (folder / "a.py").write_text(BOUND + "mine = 1\n")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (change_tracked, r"not committed \(plain\.txt\)"),
        (add_untracked, r"new\.py: not in git, and the port would rewrite it"),
        (add_ignored, r"new\.py: not in git, and the port would rewrite it"),
        (edit_after_a_port, r"a\.py: changed since the last port"),
    ],
)
def test_work_that_is_not_committed_is_not_written_over(checkout, prepare, says):
    prepare(checkout)
    before = tree(checkout)
    with pytest.raises(InputError, match=says):
        in_place(checkout)
    assert tree(checkout).keys() == before.keys()
    in_place(checkout, force=True)


def test_untracked_files_that_a_port_leaves_alone_and_its_own_changes_are_no_obstacle(checkout):
    (checkout / "notes.txt").write_text("mine")
    in_place(checkout)
    (checkout / "notes.txt").unlink()
    in_place(checkout)
    assert b"xinqiao" not in git(checkout, "status", "--porcelain").stdout
    ports.undo(checkout)
    assert git(checkout, "status", "--porcelain").stdout == b""


def test_a_folder_of_a_checkout_is_held_to_its_own_files_only(checkout):
    (checkout / "a.py").write_text(BOUND + "mine = 1\n")
    in_place(checkout / "sub")
    assert (checkout / "sub" / "b.py").read_bytes() == PORTED


def test_a_checkout_does_not_choose_programs_that_run(checkout, tmp_path):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external"):
        git(checkout, "config", key, str(program))
    in_place(checkout)
    assert not (tmp_path / "ran").exists()


# Trouble in the middle


def run(code, *words, **how):
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, **how)


PORT = """
import sys
from pathlib import Path
from xinqiao.cli import main
main(["port", sys.argv[1], "--chip", "ascend-910c", *sys.argv[2:]])
"""


@pytest.mark.parametrize("words", [["--in-place"], ["--out", "{out}"]])
def test_a_full_disk_is_one_line_and_changes_nothing(project, tmp_path, words):
    (project / "large.py").write_text(BOUND + "".join(f"x{i} = {i}\n" for i in range(20_000)))
    before = tree(tmp_path)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = run(PORT, project, *(w.format(out=tmp_path / "out") for w in words), preexec_fn=limit)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "File too large" in done.stderr
    assert tree(tmp_path) == before


NOBODY = """
import os, sys
from pathlib import Path
from xinqiao import port as ports
from xinqiao.chips import catalog
from xinqiao.cli import main
ports.check(Path(sys.argv[1]), ports.Target(catalog.load("ascend-910c")))
if os.getuid() == 0:
    os.setuid(65534)
main(["port", sys.argv[1], "--chip", "ascend-910c", *sys.argv[2:]])
"""


@pytest.mark.parametrize("words", [["--in-place"], ["--out", "{out}"]])
def test_a_place_that_may_not_be_written_to_is_one_line_and_changes_nothing(project, words):
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        shutil.move(project, home / "project")
        home.chmod(0o555)
        (home / "project").chmod(0o777)
        (home / "project" / "sub").chmod(0o555)
        before = tree(home)
        done = run(NOBODY, home / "project", *(w.format(out=home / "out") for w in words))
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert "Permission denied" in done.stderr
        assert tree(home) == before
        for folder in (home, home / "project" / "sub"):
            folder.chmod(0o755)


KILLED = """
import os, sys
from pathlib import Path
from xinqiao import port as ports
from xinqiao.chips import catalog
left = int(sys.argv[2])
def count(event, arguments):
    global left
    if event in ("os.rename", "open", "os.mkdir", "os.chmod", "os.remove"):
        left -= 1
        if left == 0:
            os._exit(9)
target = ports.Target(catalog.load("ascend-910c"))
ports.check(Path(sys.argv[1]), target)
sys.addaudithook(count)
ports.port(Path(sys.argv[1]), target, None, in_place=True)
"""


def test_a_crash_at_any_moment_leaves_old_or_new_files_and_a_way_back(tmp_path):
    """Killed at the n-th call that opens, renames or makes something, for every n until a port gets through."""
    moments = 0
    while True:
        folder = tmp_path / str(moments)
        folder.mkdir()
        (folder / "a.py").write_text(BOUND)
        (folder / "b.py").write_text(BOUND)
        killed = run(KILLED, folder, moments + 1).returncode == 9
        assert {(folder / n).read_bytes() for n in ("a.py", "b.py")} <= {BOUND.encode(), PORTED}
        if manifest.exists(folder):
            ports.undo(folder)
        assert (folder / "a.py").read_text() == (folder / "b.py").read_text() == BOUND
        in_place(folder)
        assert (folder / "a.py").read_bytes() == (folder / "b.py").read_bytes() == PORTED
        assert not list(folder.rglob(f"*{manifest.PART}"))
        if not killed:
            break
        moments += 1
    assert moments > 8


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("manifest.json", b"{", "damaged"),
        ("manifest.json", b'{"schema":1,"chip":"c","files":{"../x":{"before":null,"after":"a"}}}', "lies outside"),
        ("manifest.json", b'{"schema":1,"chip":"c","files":{"/etc/x":{"before":null,"after":"a"}}}', "lies outside"),
        ("originals", None, "damaged or missing"),
    ],
)
def test_a_damaged_manifest_is_one_line_and_changes_nothing(project, name, content, says):
    in_place(project)
    place = project / manifest.FOLDER / name
    if content is None:
        for path in place.iterdir():
            path.write_bytes(b"no")
    else:
        place.write_bytes(content)
    before = tree(project)
    with pytest.raises(InputError, match=says) as caught:
        ports.undo(project)
    assert "\n" not in str(caught.value)
    assert tree(project) == before
