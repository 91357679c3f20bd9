"""A disk that is full, or read-only, costs nothing but the shard under way."""

import shutil
import subprocess

import pytest

from tests.convert.models import llama
from tests.convert.running import command, digests, run

UNSHARE = ["unshare", "--map-root-user", "--mount"]
CAN_MOUNT = shutil.which("unshare") and not subprocess.run([*UNSHARE, "true"], capture_output=True).returncode
mounts = pytest.mark.skipif(not CAN_MOUNT, reason="this system lets nobody mount a file system of their own")


def on_small_disk(folder, script, source):
    """Run a shell script with a file system of its own at `folder`; "$@" converts `source` into `folder`/out."""
    folder.mkdir()
    words = command("convert", source, "--to", "bf16", "--out", folder / "out")
    return subprocess.run([*UNSHARE, "sh", "-c", script, folder, *words], capture_output=True, text=True, check=False)


@mounts
def test_too_small_a_disk_is_refused_before_the_start(tmp_path):
    source = llama(tmp_path / "source", layers=4)
    before = digests(source)
    script = 'mount -t tmpfs -o size=1m none "$0" && "$@"; code=$?; find "$0" -name "*.safetensors"; exit $code'
    done = on_small_disk(tmp_path / "disk", script, source)
    assert done.returncode == 2
    assert "are needed and" in done.stderr
    assert done.stdout == ""
    assert digests(source) == before


@mounts
def test_a_disk_that_fills_up_on_the_way(tmp_path):
    """Space is there at the start and somebody else takes it; given back, the same command finishes."""
    source = llama(tmp_path / "source", layers=8)
    meant = tmp_path / "meant"
    assert run("convert", source, "--to", "bf16", "--out", meant).returncode == 0
    script = (
        'mount -t tmpfs -o size=80m none "$0" || exit 9\n'
        '"$@" > "$0.log" 2>&1 &\n'  # the margin is 64 MB: fill the disk while the command starts
        'while ! ls "$0"/out/model-00002* >/dev/null 2>&1; do [ -e /proc/$! ] || break; done\n'
        'dd if=/dev/zero of="$0/filler" bs=64k 2>/dev/null\n'
        "wait $!\n"
        'first=$?; tail -1 "$0.log" >&2; rm "$0/filler"; "$@" >/dev/null || exit 8\n'
        f'diff -r "$0/out" {meant} && exit $first'
    )
    done = on_small_disk(tmp_path / "disk", script, source)
    assert done.returncode in (0, 2), done.stderr + done.stdout
    if done.returncode == 2:
        assert "No space left on device" in done.stderr
        assert "the same command goes on" in done.stderr


@mounts
def test_a_read_only_disk(tmp_path):
    source = llama(tmp_path / "source")
    before = digests(source)
    script = 'mount -t tmpfs -o ro none "$0" && "$@"'
    done = on_small_disk(tmp_path / "disk", script, source)
    assert done.returncode == 2
    assert "Read-only file system" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert digests(source) == before
