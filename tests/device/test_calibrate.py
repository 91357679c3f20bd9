"""Measuring a device: what, in which order, and what is written down; on this processor, where there is always one."""

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from math import dist
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from xinqiao.chips import catalog
from xinqiao.chips.table import SIZES, Row, Table, read, text
from xinqiao.cli import main
from xinqiao.cost.price import Price
from xinqiao.cost.software import load
from xinqiao.cost.table import kernel_of, place
from xinqiao.device.calibration.calls import Pool, Room, call
from xinqiao.device.calibration.machine import Machine, machine
from xinqiao.device.calibration.run import measure
from xinqiao.device.calibration.shapes import Candidate, candidates, interleaved, ordered

ROOT = Path(__file__).parents[2]
SMALL = {
    "gemm": ((3, 8, 16), (3, 8)),
    "grouped_gemm": ((3, 8, 16, 2), (2, 3, 8)),
    "prefill_attention": ((2, 5, 4, 2, 8), (2, 4, 5, 8)),
    "decode_attention": ((2, 5, 4, 2, 8), (2, 4, 1, 8)),
    "elementwise": ((10, 3), (10,)),
    "norm": ((3, 8), (3, 8)),
    "embedding": ((3, 8), (3, 8)),
    "copy": ((64,), (16,)),
    "launch": ((1,), (1,)),
}


@pytest.fixture(scope="module")
def room():
    return Room(Pool("cpu", torch.float32, 2**22), "cpu")


def small_machine(now=time.perf_counter):
    """This processor with a small cache and little memory, so that everything is quick."""

    def clock(run, first, count):
        started = now()
        for number in range(first, first + count):
            run(number)
        return (now() - started) / count

    return Machine("cpu", "a small one", 2**33, 2**18, "", "", "wall", clock)


@pytest.mark.parametrize("kind", SIZES)
def test_every_kind_runs_and_answers_what_a_model_would_get(kind, room):
    shape, answered = SMALL[kind]
    assert call(kind, "fp32", shape, room)(0).shape == answered


def test_a_product_is_that_of_a_linear_layer(room):
    x, weight = room.pool.one(3, 16), room.pool.views(8, 16)
    run = call("gemm", "fp32", (3, 8, 16), room)
    for number in (0, 1, 256):
        assert torch.equal(run(number), torch.nn.functional.linear(x, weight[number % 256]))


def test_weights_of_successive_calls_do_not_overlap(room):
    views = room.pool.views(100, 100)
    starts = [view.data_ptr() for view in views]
    assert len(views) > 50
    assert all(b - a >= 100 * 100 * 4 for a, b in pairwise(starts))


def test_what_has_no_room_is_no_call(room):
    assert call("gemm", "fp32", (1, 8192, 8192), room) is None


@pytest.mark.parametrize("kind", SIZES)
def test_candidates_have_the_sizes_of_their_kind(kind):
    found = candidates(kind)
    assert found
    assert {len(shape) for shape in found} == {len(SIZES[kind])}
    assert len(set(found)) == len(found)


def test_each_beginning_of_the_order_covers_all_sizes_better_than_the_first_of_a_list_do():
    group = [Candidate("gemm", "bf16", shape) for shape in candidates("gemm")]
    order = ordered(group)
    assert sorted(order) == sorted(group)

    def farthest(chosen):
        places = [place(kernel_of(*one)) for one in chosen]
        return max(min(dist(place(kernel_of(*one)), other) for other in places) for one in group)

    reached = [farthest(order[:count]) for count in (1, 8, 32)]
    assert reached[0] > 1.5 * reached[1] > 2 * reached[2]
    assert reached[2] < farthest(group[:32]) / 2


def test_groups_take_turns():
    assert interleaved([["a", "b", "c"], ["d"], ["e", "f"]]) == ["a", "d", "e", "b", "f", "c"]


@pytest.mark.slow
def test_a_short_measurement_has_rows_of_every_kind_in_the_first_format():
    rows = measure(small_machine(), 12.0, lambda *_: None)
    assert {row.kind for row in rows} == set(SIZES)
    assert {row.format for row in rows if row.kind != "gemm"} == {"fp32"}
    assert all(row.seconds > 0 and row.repeats > 0 for row in rows)


def test_what_was_measured_before_an_interrupt_is_kept():
    def stop(kernels, _turn):
        if kernels == 12:
            raise KeyboardInterrupt

    assert len(measure(small_machine(), 60.0, stop)) == 12


def test_larger_products_take_longer():
    rows = {
        row.shape: row.seconds
        for row in measure(small_machine(time.thread_time), 4.0, lambda *_: None)
        if row.kind == "gemm"
    }
    slow, fast = max(rows, key=lambda s: s[0] * s[1] * s[2]), min(rows, key=lambda s: s[0] * s[1] * s[2])
    assert rows[slow] > 3 * rows[fast]


def test_a_written_table_reads_back(tmp_path):
    table = Table(
        schema=1, device="cpu", name='A "processor" 处理器', capacity=1.5e10, torch="2.13.0",
        date="2026-11-30T00:00:00+00:00", threads=1, host="x", clock="thread",
        row=(
            Row(kind="gemm", format="fp32", shape=(1, 2, 3), seconds=1.25e-7, spread=0.01, repeats=7),
            Row(kind="launch", format="fp32", shape=(1,), seconds=2.0, spread=0.0, repeats=1),
        ),
    )  # fmt: skip
    (tmp_path / "t.toml").write_text(text(table), encoding="utf-8")
    assert read(tmp_path / "t.toml") == table
    assert sum("kind =" in line for line in text(table).splitlines()) == 2  # a line a row


def test_the_clock_of_one_thread_is_its_own_time():
    clock = "thread" if torch.get_num_threads() == 1 else "wall"
    found = machine("cpu")
    assert (found.clock_name, found.device) == (clock, "cpu")
    assert found.capacity > 2**28
    if clock == "thread":
        assert found.clock(lambda _: time.sleep(0.05), 0, 1) < 0.03


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--device", "npu", "--out", "x.toml"], "npu: there is none here; install its driver and torch-npu"),
        (["--device", "cuda", "--out", "x.toml"], "cuda: there is none here; install its driver and a build of"),
        (["--device", "gpu", "--out", "x.toml"], "--device gpu: not one of cpu, "),
        (["--device", "cpu", "--out", "x.json"], "--out x.json: name a .toml file"),
        (["--device", "cpu", "--out", "/proc/x/y.toml"], "/proc/x/y.toml: cannot be written"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line_and_nothing_written(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("this machine has one")
    done = CliRunner().invoke(main, ["calibrate", *words])
    assert done.exit_code == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def python(*words, **environment):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_virtual_chip_is_refused(tmp_path):
    out = tmp_path / "x.toml"
    done = python("-m", "xinqiao.cli", "calibrate", "--device", "npu", "--out", out, XINQIAO_CHIP="910c")
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if ": compiling " not in line]  # the chip, once
    assert "this process has a virtual ascend-910c, whose clock tells predicted time" in line
    assert not out.exists()


@pytest.mark.slow
def test_a_measured_processor_is_priced_and_not_run_on(tmp_path):
    out = tmp_path / "here.toml"
    done = CliRunner().invoke(main, ["calibrate", "--device", "cpu", "--out", str(out), "--minutes", "0.3"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{out}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["here.toml"]
    chip = catalog.load(str(out))
    price = Price(chip, load("eager"))
    gemms = sorted((row for row in read(out).row if row.kind == "gemm"), key=lambda row: row.spread)
    for known in gemms[:3]:  # the steadiest: one whose repeats disagree is doubted, and its neighbours say more
        found = price.kernel(kernel_of(known.kind, known.format, known.shape)).seconds
        assert found == pytest.approx(known.seconds, rel=0.3), known
    (tmp_path / "a.py").write_text("import torch\n")
    refused = python(tmp_path / "a.py", XINQIAO_CHIP=str(out))
    assert refused.returncode == 2
    assert "here is this or another processor, not a chip to run on" in refused.stderr


VIRTUAL = """
from xinqiao.device import session
from xinqiao.device.calibration import machine, run
session.virtual("910c", shapes=True)
found = machine._accelerator("npu")
rows = run.measure(found, 25.0, lambda *_: None)
print(found.clock_name, found.capacity, len(rows))
for row in rows:
    if row.kind == "gemm":
        print("gemm", row.format, *row.shape, row.seconds)
"""


@pytest.mark.slow
def test_an_accelerators_clock_is_its_events():
    """The whole path of an accelerator, on a virtual one, whose events tell the cost model's time."""
    done = python("-c", VIRTUAL)
    assert done.returncode == 0, done.stderr
    head, *lines = (line.split() for line in done.stdout.splitlines())
    assert head[:2] == ["event", "68719476736"]
    assert {line[1] for line in lines} == {"bf16", "fp16", "int8", "fp32"}  # this chip has no fp8
    for _, form, *sizes, seconds in lines:
        m, n, k = map(int, sizes)
        if form == "bf16" and m >= 512:
            assert 0.4 < 2 * m * n * k / 353.9e12 / float(seconds) < 1.0


@pytest.mark.slow
def test_a_table_predicts_a_model_that_constants_do_not():
    """A short calibration, then a decode step and a prompt of a model of 360 M parameters."""
    done = python(ROOT / "benchmarks/calibrate_cpu.py", "--seconds", "30", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["table"]["median error"] < 0.8 * found["constants"]["median error"]
    for what, answer in found["table"]["models"].items():
        assert abs(answer["error"]) < 0.30, (what, found)
