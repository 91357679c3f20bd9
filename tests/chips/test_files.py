"""The .toml files that ship, and what a broken one says."""

import tomllib

import pytest

from xinqiao.chips.catalog import load
from xinqiao.chips.read import FOLDER, read
from xinqiao.chips.show import figures
from xinqiao.errors import InputError

FILES = sorted(FOLDER.glob("*.toml"))
T, G = 1e12, 1e9


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_loads(path):
    chip = load(path.stem)
    assert chip.name == path.stem
    assert chip.torch.source
    for key, figure in figures(chip):
        assert figure.known or figure.confidence == "unknown", key


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.read_text().startswith("base")], ids=lambda path: path.stem
)
def test_a_difference_states_no_copies(path):
    """A bin's file holds only what differs from its base."""
    data = tomllib.loads(path.read_text())
    base = tomllib.loads((FOLDER / f"{data['base']}.toml").read_text())
    assert [key for key in data if data[key] == base.get(key)] == []


@pytest.mark.parametrize(
    ("name", "what", "expected"),
    [
        ("ascend-910b", "float16", 376 * T),
        ("ascend-910b", "bfloat16", 353.9 * T),
        ("ascend-910b", "int8", 752 * T),
        ("ascend-910b", "bandwidth", 1.6 * T),
        ("ascend-910b", "scale_up", 196 * G),
        ("ascend-910b2", "bfloat16", 353.9 * T),
        ("ascend-910b3", "bfloat16", 294.9 * T),
        ("ascend-910b4", "bandwidth", 0.8 * T),
        ("ascend-910b4", "capacity", 32 * 2**30),
        ("ascend-910c", "float16", 376 * T),  # of one die: half of the package's 752
        ("ascend-910c", "int8", 752 * T),
        ("ascend-910c", "capacity", 64 * 2**30),
        ("ascend-910c", "bandwidth", 1.6 * T),
        ("ascend-910c", "scale_up", 196 * G),
        ("ascend-910c", "scale_out", 25 * G),
        ("ascend-910c", "float8_e4m3fn", None),
        ("ascend-910c-560t", "float16", 280 * T),
        ("ascend-950pr", "float8_e4m3fn", 1000 * T),
        ("ascend-950pr", "scale_up", 1000 * G),  # one way of a two-way 2000
        ("ascend-atlas-350", "float8_e4m3fn", 756 * T),
        ("ascend-atlas-350", "float4_e2m1fn_x2", 1512 * T),
        ("ascend-atlas-350", "scale_up", 159 * G),
        ("ascend-970", "bandwidth", 14.4 * T),
        ("cambricon-mlu370-x4", "bandwidth", 0.307 * T),
        ("cambricon-mlu690", "bandwidth", None),
        ("kunlun-p800", "float16", 345 * T),
        ("kunlun-p800", "bandwidth", None),
        ("moore-threads-s4000", "scale_up", 120 * G),
        ("moore-threads-s5000", "bandwidth", 1.6 * T),
        ("t-head-zhenwu-810e", "scale_up", 350 * G),
        ("hygon-bw1000", "float16", None),
        ("metax-c600", "bandwidth", 3.6 * T),
        ("biren-br104", "capacity", 32 * 10**9),  # sold with 32 or 64 GB: the least
        ("biren-br166", "capacity", None),
        ("nvidia-a100", "float32", 19.5 * T),
        ("nvidia-h100", "bfloat16", 989 * T),
        ("nvidia-h800", "scale_up", 200 * G),
        ("nvidia-h20", "bfloat16", 148 * T),
        ("nvidia-h20", "float32", 44 * T),
        ("nvidia-h200", "bandwidth", 4.8 * T),
        ("nvidia-h200", "tf32", 494.5 * T),  # inherited from the H100
        ("nvidia-b200", "float4_e2m1fn_x2", 9000 * T),
        ("amd-mi300x", "float8_e4m3fnuz", 2614.9 * T),
    ],
)
def test_one_device(name, what, expected):
    device = load(name).per_device()
    known = ("capacity", "bandwidth", "scale_up", "scale_out", "host", "launch")
    found = getattr(device, what) if what in known else device.peak(what)
    assert found == (expected and pytest.approx(expected))


@pytest.mark.parametrize(
    ("name", "dtype", "why"),
    [
        ("ascend-910c", "float8_e4m3fn", "the chip has no fp8"),
        ("kunlun-p800", "bfloat16", "no source states the bf16 peak: not stated apart from fp16"),
        ("ascend-910c", "bool", "no matrix peak is recorded for bool"),
        ("nvidia-h200", "bfloat16", "bf16: 989 TFLOPS dense, vendor (aiconfigurator"),
    ],
)
def test_a_peak_says_where_it_comes_from(name, dtype, why):
    assert load(name).per_device().why(dtype).startswith(why)


@pytest.mark.parametrize(
    ("name", "what", "interval"),
    [
        ("metax-c500", "float16", (80 * T, 280 * T)),
        ("cambricon-mlu590", "bandwidth", (2.0 * T, 2.76 * T)),
        ("ascend-910c", "launch", (2e-6, 5e-6)),
        ("kunlun-p800", "bandwidth", None),
    ],
)
def test_intervals(name, what, interval):
    device = load(name).per_device()
    found = device.peak_interval(what) if what == "float16" else device.interval(what)
    assert found == (interval and pytest.approx(interval))


@pytest.mark.parametrize(
    ("name", "device", "package", "collective", "devices"),
    [
        ("ascend-910b", "npu", "torch_npu", "hccl", 8),
        ("ascend-910c", "npu", "torch_npu", "hccl", 16),
        ("cambricon-mlu370-x8", "mlu", "torch_mlu", "cncl", 8),
        ("moore-threads-s4000", "musa", "torch_musa", "mccl", 8),
        ("enflame-s60", "gcu", "torch_gcu", "eccl", 8),
        ("biren-br104", "supa", "torch_br", "succl", 8),
        ("kunlun-p800", "cuda", "torch_xmlir", "nccl", 8),
        ("nvidia-h200", "cuda", "", "nccl", 8),
    ],
)
def test_names_in_pytorch(name, device, package, collective, devices):
    torch = load(name).torch
    assert (torch.device, torch.package, torch.collective, torch.server_devices) == (
        device,
        package,
        collective,
        devices,
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_cuda_table_goes_with_the_device(path):
    chip = load(path.stem)
    assert (chip.cuda is not None) == (chip.torch.device == "cuda")


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("ascend-910c", "1800 TFLOPS FP16"),
        ("ascend-910c", "memory bandwidth 1.6 TB/s"),
        ("ascend-910b", "memory bandwidth 800 GB/s"),
        ("kunlun-p800", "memory bandwidth 1 TB/s"),
        ("cambricon-mlu690", "link of 890 GB/s"),
    ],
)
def test_rejected_claims_are_kept(name, claim):
    assert claim in [rejected.claim for rejected in load(name).rejected]


MINIMAL = """
title = "Acme One"
vendor = "Acme"
status = "shipping"
[torch]
device = "acme"
collective = "accl"
confidence = "vendor"
source = "Acme"
"""


def test_the_least_that_a_file_says(tmp_path):
    (tmp_path / "acme-one.toml").write_text(MINIMAL)
    chip = read(tmp_path / "acme-one.toml")
    assert chip.per_device().peak("float32") is None
    assert chip.per_device().capacity is None
    assert chip.dtypes.state("float32") == "unknown"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "[memory]\ncapacity = {value=1, unit='TB', confidence='press', source='x'}",
         "memory.capacity.unit: 'TB' is not one of GB, GiB"),
        (MINIMAL + "[compute]\nfp16 = {value=1, unit='TFLOPS', confidence='press', source='x'}",
         "compute.fp16.dense: missing; true for a dense peak, false for one that counts on sparsity"),
        (MINIMAL + "[links]\nhost = {value=1, unit='GB/s', confidence='press', source='x'}",
         "links.host.direction: missing; one-way, or two-way for the sum of both directions"),
        (MINIMAL + "[compute]\nfp17 = {}", "compute.fp17: unknown key; did you mean fp16"),
        (MINIMAL + "[memory]\ncapacity = {valu=1}", "memory.capacity.valu: unknown key; did you mean value"),
        (MINIMAL + "[cuda]\nwarps=1\nconfidence='press'\nsource='x'",
         "cuda.warps: unknown key; did you mean warp_size"),
        (MINIMAL + "[[rejected]]\nclaim='x'\nwhy='y'",
         "rejected[0].why: unknown key; known: claim, reason, source"),
        ("titel = 'x'\n" + MINIMAL, "titel: unknown key; did you mean title"),
        (MINIMAL.replace('title = "Acme One"', ""), "title: missing"),
        (MINIMAL.replace('collective = "accl"', ""), "torch.collective: missing"),
        (MINIMAL.replace('"shipping"', '"sold"'), "status: 'sold' is not one of shipping, announced"),
        (MINIMAL + "[memory]\ncapacity = {value=1, unit='GB', confidence='high', source='x'}",
         "memory.capacity.confidence: 'high' is not one of measured, vendor, press, roadmap, unknown"),
        (MINIMAL + "[memory]\ncapacity = {value='64', unit='GB', confidence='press', source='x'}",
         "memory.capacity.value: expected float | null, got str"),
        (MINIMAL + "[dtypes]\nrefused = ['fp8']", "dtypes.refused: 'fp8' is not one of float64"),
        (MINIMAL + "[dtypes]\nrefused=['int8']\nnative=['int8']", "dtypes.native: 'int8' is listed twice"),
        ("lacks = ['fp9']\n" + MINIMAL, "lacks: 'fp9' is not one of fp64"),
        ("lacks = ['fp8']\n" + MINIMAL
         + "[compute]\nfp8 = {value=1, unit='TFLOPS', dense=true, confidence='press', source='x'}",
         "lacks: 'fp8' also has a peak in compute"),
        (MINIMAL + "devices_per_package = 0", "torch.devices_per_package: expected int >= 1"),
        (MINIMAL + "[software]\noperators = 'acme'",
         "software.operators: 'acme' is not one of ascend, cuda, mlu, musa"),
        ("name = 'acme-two'\n" + MINIMAL, "name: 'acme-two' is not the file's name"),
        ("base = 'ascend-910d'", "base: no chip 'ascend-910d'; did you mean ascend-910"),
        ("base = 'ascend-910b3'", "base: 'ascend-910b3' has a base itself; name that one"),
        ("title = ", "not TOML: Invalid value (at end of document)"),
        ("title = 'x'\nvendor == 'y'", "not TOML: Invalid value (at line 2, column 9)"),
    ],
)  # fmt: skip
def test_a_broken_file_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "acme-one.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: cannot be read \(No such file or directory\)"):
        load(str(tmp_path / "none.toml"))


def test_a_user_file_may_change_one_figure(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "base = 'ascend-910c'\ntitle = 'Mine'\n"
        "[memory]\ncapacity = {value=96, unit='GiB', confidence='measured', source='my machine'}"
    )
    mine, theirs = load(str(path)), load("ascend-910c")
    assert mine.per_device().capacity == 48 * 2**30
    assert mine.memory.bandwidth == theirs.memory.bandwidth
    assert mine.compute == theirs.compute
