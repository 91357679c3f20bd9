"""Source archives from PyPI, ported: a verdict for every place that an independent counter finds."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import port_counter
import port_packages
import port_sdists

pytestmark = [pytest.mark.real, pytest.mark.slow]
SMALL = [p for p in port_sdists.packages() if p.small]


@pytest.mark.parametrize("package", SMALL, ids=lambda p: p.name)
def test_every_place_has_a_verdict_and_the_port_can_be_taken_back(package, tmp_path):
    outcome = port_packages.measure(package, tmp_path, programs=False)
    assert outcome.counted >= 5
    assert (
        not outcome.wrong
    )  # a place without a verdict, a broken file, a second port that changes, an undo that differs


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import torch\nx = torch.cuda.device_count()\n", ["torch.cuda.device_count"]),
        ("import torch as th\nx = th.cuda.device_count()\n", ["torch.cuda.device_count"]),
        ("from torch.cuda.amp import autocast\nautocast()\n", ["import", "torch.cuda.amp.autocast"]),
        ("from torch.backends import cudnn as c\nc.benchmark = True\n", ["import", "torch.backends.cudnn.benchmark"]),
        ("from fastai.basics import *\ntorch.cuda.synchronize()\n", ["torch.cuda.synchronize"]),
        ("y = x.cuda(0); z = x.is_cuda\n", [".cuda()", ".is_cuda"]),
        ("y = x.to(0); z = f(device=1)\n", [".to(0)", "device=1"]),
        ("d = f'cuda:{i}'; e = 'cuda' if ok else 'cpu'\n", ["string", "string"]),
        ("os.environ['CUDA_VISIBLE_DEVICES'] = '0'\n", ["string"]),
        ("import triton.language as tl\nimport selective_scan_cuda\n", ["import", "import"]),
        ("DataLoader(d, pin_memory=True)\n", ["pin_memory"]),
        ("a = [ProfilerActivity.CUDA]\n", ["ProfilerActivity.CUDA"]),
        ("def f(pin_memory=True, use_cuda=False):\n    'on cuda'\n    self.cuda = use_cuda  # torch.cuda\n", []),
        ("p.add_argument('--no-cuda'); fish = 'barracuda'; args.cuda = opts['use_cuda']\n", []),
        ("from .cuda_ops import run\nx = y.to('km')\n", []),
        ("print 'torch.cuda'\n", ["does not parse"]),
    ],
)
def test_what_the_counter_counts(code, what):
    assert [p.what for p in port_counter.count_file("a.py", code.encode())] == what


def test_a_place_is_covered_only_where_an_occurrence_overlaps_it(tmp_path):
    places = port_counter.count_file("a.py", b"y = x.cuda(), z.cuda()\n")
    record = tmp_path / "port.json"
    record.write_text('{"occurrences": [{"file": "a.py", "line": 1, "column": 5, "end_line": 1, "end_column": 13}]}')
    covered, uncovered = port_counter.covered(places, record)
    assert [p.column for p in covered] == [7]
    assert [p.column for p in uncovered] == [17]
