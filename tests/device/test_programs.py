"""Whole programs on a chip: exit codes, records, policies, traces."""

import json
import re

import pytest

from tests.device.programs import cli, run, start
from tests.warm import python
from xinqiao.record.files import read

MATMUL_IN_DOUBLE = """import torch
x = torch.ones(4, 4, dtype=torch.float64, device="npu")
print((x @ x).sum().item())
"""


@pytest.fixture
def script(tmp_path):
    def write(text, name="program.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("policy", "code", "says"),
    [
        (None, 1, "NotImplementedError: aten::mm for float64 on Huawei Ascend 910C"),
        ("refuse", 1, "NotImplementedError: aten::mm for float64"),
        ("fallback", 0, "it runs on the host, slowly"),
        ("allow", 0, ""),
    ],
)
def test_policies(script, tmp_path, policy, code, says):
    options = ("--policy", policy) if policy else ()
    done = run(script(MATMUL_IN_DOUBLE), "--record", tmp_path / "r.json", *options)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    record = read(tmp_path / "r.json")
    [incident] = [i for i in record.incidents if i.operator == "aten::mm"]
    assert (incident.support, incident.dtype, incident.line) == ("refused", "float64", "program.py:3")
    assert incident.source
    assert record.exit_code == code
    if not code:
        assert done.stdout == "64.0\n"
        assert [(r.line, r.values) for r in record.readbacks] == [("program.py:3", [64.0])]


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("import torch\nraise KeyError('mine')\n", 1, "KeyError: 'mine'"),
        ("import torch, sys\nsys.exit(3)\n", 3, ""),
        ("import torch\nraise SystemExit(4)\n", 4, ""),
        ("import torch\nprint('fine')\n", 0, ""),
    ],
)
def test_a_programs_end_passes_through_and_the_record_is_written(script, tmp_path, text, code, says):
    done = run(script(text), "--record", tmp_path / "r.json")
    assert done.returncode == code
    assert says in done.stderr
    assert read(tmp_path / "r.json").exit_code == code


def test_a_record_says_what_ran(script, tmp_path):
    text = """import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256))
    def forward(self, x):
        return self.body(x)
torch.manual_seed(5)
net = Net().npu()
x = torch.randn(512, 256).npu()
y = net(x)
y.sum().backward()
print(y.sum().item())
"""
    done = run(script(text), "--record", tmp_path / "r.json", "--trace", tmp_path / "t.json")
    assert done.returncode == 0, done.stderr
    record = read(tmp_path / "r.json")
    assert (record.chip, record.device, record.mode, record.virtual) == ("ascend-910c", "npu", "values", True)
    assert record.seed == 5
    [product] = [o for o in record.operators if o.operator == "aten::addmm"]
    assert product.count == 2
    assert product.flops == 2 * 2 * 512 * 256 * 256
    assert product.shapes == [[256], [512, 256], [256, 256], [512, 256]]
    assert product.support == "native"
    [memory] = record.memory
    assert memory.capacity == 64 * 2**30
    assert memory.peak == max(p.bytes for p in memory.curve)
    lines = {h.line for h in memory.holders}
    assert {"program.py:10", "program.py:11"} <= lines
    assert "Net.body.1" in {h.module for h in memory.holders}
    assert record.predicted_seconds == max(s.seconds for s in record.streams) > 0
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert {"aten::addmm", "memory", "process_name"} <= {e["name"] for e in events}


def test_ranks_each_have_a_device_and_a_record(script, tmp_path):
    text = """import os, torch, torch.distributed as dist, torch_npu
dist.init_process_group("hccl")
rank = dist.get_rank()
torch.npu.set_device(rank)
x = torch.ones(1000, device="npu") * (rank + 1)
dist.all_reduce(x)
assert x.device.index == rank
print(f"{dist.get_backend()} {x[0].item()}\\n", end="")
dist.destroy_process_group()
"""
    done = run(script(text), "--ranks", "2", "--record", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["hccl 3.0"] * 2
    records = [read(tmp_path / name) for name in ("r.json", "r.rank1.json")]
    assert [(r.rank, r.ranks) for r in records] == [(0, 2), (1, 2)]
    for record in records:
        [reduce] = [c for c in record.collectives if c.operator == "allreduce_"]
        assert (reduce.backend, reduce.count, reduce.bytes) == ("hccl", 1, 4000)
        assert reduce.seconds > 0


def test_environment_alone_is_enough(script, tmp_path):
    path = script("import torch\nprint(torch.npu.get_device_name())\n")
    done = start([python(), str(path)], tmp_path, XINQIAO_CHIP="910c")
    assert done.stdout == "Huawei Ascend 910C (virtual)\n"
    assert start([python(), str(path)], tmp_path, XINQIAO_CHIP=None).returncode == 1


def test_a_run_is_on_the_chip_where_pytorch_is_told_to_load_no_devices(script):
    path = script("import torch\nprint(torch.npu.get_device_name())\n")
    assert run(path, TORCH_DEVICE_BACKEND_AUTOLOAD="0").stdout == "Huawei Ascend 910C (virtual)\n"


def test_children_get_the_chip_but_write_no_record(script, tmp_path):
    child = script("import torch\nprint(torch.npu.is_available())\n", "child.py")
    text = f"import subprocess, sys, torch\nsubprocess.run([sys.executable, {str(child)!r}], check=True)\n"
    done = run(script(text), "--record", tmp_path / "r.json")
    assert "True" in done.stdout
    assert read(tmp_path / "r.json").argv[0].endswith("program.py")


def test_the_vendors_real_package_is_used_where_it_is_installed(script, tmp_path):
    """A package of that name on the path, and no virtual chip is made; what ran is recorded all the same."""
    (tmp_path / "torch_npu.py").write_text("installed = True\n")
    text = "import torch, torch_npu\nassert torch_npu.installed\nprint((torch.ones(3) + 1).sum().item())\n"
    done = run(script(text), "--record", tmp_path / "r.json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "torch_npu is installed: using the real device" in done.stderr
    record = read(tmp_path / "r.json")
    assert record.virtual is False
    assert "aten::add.Tensor" in {o.operator for o in record.operators}


def test_shapes_mode_is_exact_and_refuses_values(script, tmp_path):
    text = """import torch
from torch import nn
model = nn.Sequential(*[nn.Linear(1024, 1024, bias=False) for _ in range(8)]).to("npu", torch.bfloat16)
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
model(torch.ones(4, 1024, device="npu", dtype=torch.bfloat16)).sum().backward()
optimizer.step()
print(torch.npu.max_memory_allocated(), torch.ones(3, device="npu").sum().item())
x = torch.ones(5, device="npu")
for call in (x.nonzero, lambda: x[x > 0], lambda: torch.unique(x), lambda: repr(x)):
    try:
        call()
        print("no error")
    except NotImplementedError as error:
        print("needs the values" in str(error), "without --shapes" in str(error))
"""
    done = run(script(text), "--shapes")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    weights = 8 * 1024 * 1024 * 2
    assert first.split() == [str(4 * weights + 8 * 512), "0.0"]
    assert rest == ["True True"] * 4
    assert "fiction" in done.stderr


def test_out_of_memory_at_the_capacity_of_the_file(script, tmp_path):
    small = tmp_path / "small.toml"
    small.write_text(
        'base = "ascend-910c"\ntitle = "Small"\n[memory]\n'
        'capacity = { value = 2, unit = "GiB", confidence = "measured", source = "a test" }\n'
    )
    text = """import torch
held = torch.empty(900, 2**20, dtype=torch.uint8, device="npu")
torch.empty(900, 2**20, dtype=torch.uint8, device="npu")
"""
    done = run(script(text), chip=small)
    assert done.returncode == 1
    assert "torch.OutOfMemoryError: NPU out of memory. Tried to allocate 900.00 MiB" in done.stderr
    assert "total capacity of 1.00 GiB" in done.stderr  # two devices a package
    assert re.search(r"900.00 MiB at \S*program.py:2", done.stderr)


BAD = {
    "unknown chip": (("--chip", "ascend-910x"), "no chip 'ascend-910x'; did you mean ascend-910"),
    "missing script": (("--chip", "910c"), "no-such.py: no such script"),
    "broken file": (("--chip", "broken.toml"), "broken.toml"),
    "wrong unit": (("--chip", "unit.toml"), "unit: 'TB' is not one of"),
    "no folder": (("--chip", "910c", "--record", "none/r.json"), "its folder does not exist"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(script, tmp_path, name):
    words, says = BAD[name]
    (tmp_path / "broken.toml").write_text('title = "x\n')
    (tmp_path / "unit.toml").write_text(
        'base = "ascend-910c"\ntitle = "x"\n[memory]\n'
        'capacity = { value = 2, unit = "TB", confidence = "measured", source = "a test" }\n'
    )
    path = script("print('ran')\n")
    target = "no-such.py" if name == "missing script" else path
    done = cli("run", *words, "--", target, folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.startswith("xinqiao: ")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_compiler_the_message_says_what_to_install(script, tmp_path):
    path = script("import torch\nprint('ran')\n")
    done = run(path, PATH="/nonexistent", CXX=None, XINQIAO_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "no C++ compiler found" in done.stderr
    assert "apt-get install g++" in done.stderr
    assert "ran" not in done.stdout


def test_a_second_chip_in_one_process_is_refused(script):
    text = """import xinqiao
from xinqiao.errors import InputError
first = xinqiao.virtual("ascend-910c")
assert xinqiao.virtual("910c") is first
try:
    xinqiao.virtual("moore-threads-s5000")
except InputError as error:
    print(error)
"""
    path = script(text)
    done = start([python(), str(path)], path.parent)
    assert "already has a virtual ascend-910c" in done.stdout, done.stderr


def test_the_vendors_own_settings_can_be_set(script):
    text = """import torch, torch_npu
torch.npu.matmul.allow_hf32 = True
print(torch.npu.matmul.allow_hf32, torch.npu.conv.allow_hf32)
"""
    done = run(script(text))
    assert done.stdout.split() == ["True", "False"], done.stderr


@pytest.mark.parametrize("chip", ["ascend-910c", "nvidia-h200"])
def test_what_is_one_kernel_on_a_chip_is_one_without_data(script, tmp_path, chip):
    """The host computes grouped heads and grouped products in several steps, which shapes mode must not charge."""
    text = """import torch
from torch.nn.functional import scaled_dot_product_attention
on = {"device": torch.accelerator.current_accelerator(), "dtype": torch.bfloat16}
q, k = torch.empty(1, 8, 64, 64, requires_grad=True, **on), torch.empty(1, 2, 64, 64, **on)
scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=True).sum().backward()
offsets = torch.empty(4, device=on["device"], dtype=torch.int32)
torch._grouped_mm(torch.empty(32, 64, **on), torch.empty(4, 64, 16, **on), offsets)
"""
    done = run(script(text), "--shapes", "--record", tmp_path / "r.json", chip=chip)
    assert done.returncode == 0, done.stderr
    rows = {o.operator: o for o in read(tmp_path / "r.json").operators}
    (forward, backward) = sorted((o for name, o in rows.items() if "attention" in name), key=lambda o: o.flops)
    assert forward.flops == 2 * 2 * 8 * 64 * 32.5 * 64  # the mean query sees half of the keys
    assert backward.flops == 2.5 * forward.flops
    assert forward.kind == backward.kind == "prefill_attention"
    assert rows["aten::_grouped_mm"].kind == "grouped_gemm"
    assert rows["aten::_grouped_mm"].flops == 2 * 32 * 64 * 16
    assert not {"aten::bmm", "aten::mm", "aten::_softmax"} & rows.keys()
