"""Killed at any moment, the same command goes on, and the result is the same to the byte."""

import random
import signal
import subprocess
import time

import pytest

from tests.convert.models import llama
from tests.convert.running import command, digests, run

KILLS = 50


def killed(out, words, shards, chance):
    """Kill the command at a random moment after a random number of shards; whether it left something to do."""
    wanted = chance.randint(0, shards)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and (
        not (out / ".xinqiao-convert" / "plan").exists() or len(list(out.glob(".xinqiao-convert/*.json"))) < wanted
    ):
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, 0.004))
    process.send_signal(signal.SIGKILL)
    process.wait()
    return (out / ".xinqiao-convert").exists()


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    source = llama(tmp_path / "source", layers=6, shards=3)
    whole = tmp_path / "whole"
    done = run("convert", source, "--to", "fp8-ue8m0", "--out", whole)
    assert done.returncode == 0, done.stderr
    meant = digests(whole)
    shards = sum(name.endswith(".safetensors") for name in meant)
    assert shards > 10
    chance = random.Random(1)
    unfinished = 0
    for i in range(KILLS):
        out = tmp_path / f"out{i}"
        unfinished += killed(out, command("convert", source, "--to", "fp8-ue8m0", "--out", out), shards, chance)
        again = run("convert", source, "--to", "fp8-ue8m0", "--out", out)
        assert again.returncode == 0, again.stderr
        assert digests(out) == meant, f"kill {i}"
    assert unfinished > KILLS // 2  # otherwise the moments prove little


def test_a_result_never_looks_finished_before_it_is(tmp_path):
    """The manifest is the last file: without it, or with it half written, verify does not pass."""
    source = llama(tmp_path / "source")
    out = tmp_path / "out"
    assert run("convert", source, "--to", "bf16", "--out", out).returncode == 0
    (out / "xinqiao-manifest.json").unlink()
    assert run("verify", out).returncode == 2


def test_a_second_run_is_refused(tmp_path):
    import fcntl

    source = llama(tmp_path / "source")
    out = tmp_path / "out"
    (out / ".xinqiao-convert").mkdir(parents=True)
    with (out / ".xinqiao-convert" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run("convert", source, "--to", "bf16", "--out", out)
    assert done.returncode == 2
    assert "another conversion is writing here" in done.stderr


def test_other_options_are_refused_over_an_unfinished_result(tmp_path):
    source = llama(tmp_path / "source")
    out = tmp_path / "out"
    (out / ".xinqiao-convert").mkdir(parents=True)
    (out / ".xinqiao-convert" / "plan").write_text("of something else")
    done = run("convert", source, "--to", "bf16", "--out", out)
    assert done.returncode == 2
    assert "unfinished conversion" in done.stderr


def test_the_same_command_again_does_nothing(tmp_path):
    source = llama(tmp_path / "source")
    out = tmp_path / "out"
    for _ in range(2):
        assert run("convert", source, "--to", "fp8-block", "--out", out).returncode == 0
    other = run("convert", source, "--to", "bf16", "--out", out)
    assert other.returncode == 2
    assert "the result of another conversion" in other.stderr
