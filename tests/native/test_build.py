"""Compiling once: the cache, its damage, and two processes at a time."""

import ctypes
import subprocess
import sys
import time

import pytest

from xinqiao.errors import InputError
from xinqiao.native.build import library

ANSWER = '#include "more.h"\nextern "C" int answer() { return 42; }\n'
FLAGS = ("-shared", "-fPIC")


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("XINQIAO_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "src" / "answer.cpp"
    path.parent.mkdir()
    path.write_text(ANSWER)
    (path.parent / "more.h").write_text('#include "less.h"\n')
    (path.parent / "less.h").write_text("")
    (path.parent / "unused.h").write_text("")
    return path


def test_built_once_and_then_found(source):
    first = library("answer", source, FLAGS, (), "1")
    stamp = first.stat().st_mtime_ns
    assert library("answer", source, FLAGS, (), "1") == first
    assert first.stat().st_mtime_ns == stamp
    assert ctypes.CDLL(str(first)).answer() == 42


@pytest.mark.parametrize(
    "change",
    [
        lambda s: library("answer", s, (*FLAGS, "-O1"), (), "1"),
        lambda s: library("answer", s, FLAGS, (), "2"),
        lambda s: (s.write_text(ANSWER + "// new\n"), library("answer", s, FLAGS, (), "1"))[1],
        lambda s: ((s.parent / "less.h").write_text("// new\n"), library("answer", s, FLAGS, (), "1"))[1],
    ],
    ids=["flags", "version", "source", "a header of a header"],
)
def test_whatever_changes_the_result_changes_the_library(source, change):
    assert library("answer", source, FLAGS, (), "1") != change(source)


def test_a_header_that_is_not_included_changes_nothing(source):
    before = library("answer", source, FLAGS, (), "1")
    (source.parent / "unused.h").write_text("// new\n")
    assert library("answer", source, FLAGS, (), "1") == before


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(p.read_bytes()[:100]), lambda p: p.unlink()])
def test_a_damaged_library_is_built_again(source, damage):
    built = library("answer", source, FLAGS, (), "1")
    damage(built)
    assert ctypes.CDLL(str(library("answer", source, FLAGS, (), "1"))).answer() == 42


def test_two_processes_build_once(source, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\nsleep 1\necho built >> {tmp_path / "log"}\nexec c++ "$@"\n')
    slow.chmod(0o755)
    program = (
        f"from pathlib import Path; from xinqiao.native.build import library; "
        f"library('answer', Path({str(source)!r}), {FLAGS!r}, (), '1')"
    )
    import os

    environment = {**os.environ, "CXX": str(slow)}
    started = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(2)]
    assert [p.wait() for p in started] == [0, 0]
    assert (tmp_path / "log").read_text() == "built\n"


def test_what_does_not_compile_is_said_in_one_line(source):
    source.write_text("this is no C++\n")
    with pytest.raises(InputError, match="cannot compile answer") as caught:
        library("answer", source, FLAGS, (), "1")
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written(source, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XINQIAO_CACHE", str(tmp_path / "file" / "cache"))
    assert library(f"answer{time.time_ns()}", source, FLAGS, (), "1").exists()
    assert "cannot be written" in capsys.readouterr().err
