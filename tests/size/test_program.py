"""Any PyTorch program has an answer: traced on the virtual chip, by the command."""

import json
import subprocess

import pytest

from tests.warm import python

PROGRAM = """
import sys, torch
print('its own words')
device = torch.accelerator.current_accelerator()
model = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(int(sys.argv[1]))]).to(device).bfloat16()
model(torch.randn(4096, 1024, device=device, dtype=torch.bfloat16)).sum().backward()
"""
WEIGHTS = 2 * (1024 * 1024 + 1024)


def sized(tmp_path, *words):
    script = tmp_path / "train.py"
    script.write_text(PROGRAM)
    command = [python(), "-m", "xinqiao.cli", "size", str(script), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("layers", [2, 6])
def test_a_program_s_seconds_memory_and_operators(tmp_path, layers):
    done = sized(tmp_path, "--chip", "910c", "--format", "json", "--", str(layers))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["model"], answer["phase"], answer["chip"]) == ("train.py", "program", "ascend-910c")
    found = answer["program_seconds"]
    assert 0 < found["low"] < found["value"] < found["high"]
    assert "its own words" in done.stderr
    assert answer["memory"]["fits"]
    assert answer["memory"]["total"] > layers * 2 * WEIGHTS  # and as many gradients
    products = [row for row in answer["by_operator"] if row["flops"]]
    forward, backward = 2 * 4096 * 1024 * 1024 * layers, 2 * 4096 * 1024 * 1024 * (2 * layers - 1)
    assert sum(row["flops"] for row in products) == forward + backward
    assert {row["energy"] for row in products} <= {"bf16 products", "memory", "waiting"}


def test_seconds_that_no_source_lets_tell_are_not_told(tmp_path):
    answer = json.loads(sized(tmp_path, "--chip", "p800", "--format", "json", "--", "2").stdout)
    assert answer["program_seconds"] is None
    assert any("memory bandwidth" in what for what in answer["unknown"])
    assert answer["memory"]["fits"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--chip", "910c", "--tp", "8", "--", "2"], "--tp means nothing for a program"),
        (["--chip", "910c"], "the program ended with exit code 1"),
        (["--chip", "910x", "--", "2"], "no chip '910x'"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, words, said):
    done = sized(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
