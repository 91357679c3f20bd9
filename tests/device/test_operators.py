"""PyTorch's own operator tests are the device's acceptance test: results equal the CPU's, bit for bit."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXCEPTIONS = tomllib.loads((HERE / "operator_exceptions.toml").read_text())
CHIPS = {"vendor": "ascend-910c", "cuda": "nvidia-h200"}


@pytest.fixture(scope="module")
def outcomes():
    """Both keys at once, one process each."""
    command = [sys.executable, str(HERE / "operators_equal_cpu.py")]
    running = {
        key: subprocess.Popen([*command, chip], stdout=subprocess.PIPE, text=True) for key, chip in CHIPS.items()
    }
    return {key: json.loads(process.communicate()[0]) for key, process in running.items()}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("key", CHIPS)
def test_results_equal_the_cpus(outcomes, key):
    expected = {name for name, e in EXCEPTIONS.items() if key in e["keys"]}
    assert outcomes[key]["wrong"].keys() - expected == set(), outcomes[key]["wrong"]
    assert outcomes[key]["operators"] > 650
    assert outcomes[key]["samples"] > 12_000


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("key", CHIPS)
def test_no_exception_is_out_of_date(outcomes, key):
    needed = {name for name, e in EXCEPTIONS.items() if key in e["keys"] and not e.get("sometimes")}
    assert needed <= outcomes[key]["wrong"].keys()


def test_exceptions_are_few_and_have_reasons():
    assert len(EXCEPTIONS) <= 15
    assert all(e["reason"] and set(e["keys"]) <= set(CHIPS) for e in EXCEPTIONS.values())
