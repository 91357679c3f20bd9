"""Published packages that train on CUDA: unported on virtual chips that keep `cuda`, ported on one that does not."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.device.programs import start
from tests.warm import python
from xinqiao import port as ports
from xinqiao.chips import catalog

SCRIPTS = Path(__file__).parent / "scripts"
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]


def run(script, *arguments, folder, chip=None, path=None):
    """The program's last line, from JSON. Random numbers come from the host, so that runs can be compared."""
    environment = {"XINQIAO_CHIP": chip, "XINQIAO_HOST_RNG": "1", "PYTHONPATH": str(path) if path else None}
    done = start([python(), str(script), *map(str, arguments)], folder, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory):
    """What each program computes on plain CPU."""
    folder = tmp_path_factory.mktemp("cpu")
    return {
        "transformer.py": run(SCRIPTS / "transformer.py", "cpu", folder=folder),
        "vision.py": run(SCRIPTS / "vision.py", "cpu", folder=folder),
        "diffusion.py": run(SCRIPTS / "diffusion.py", folder / "d", "plain", folder=folder),
    }


@pytest.mark.parametrize("chip", ["nvidia-h200", "kunlun-p800"])
@pytest.mark.parametrize("script", ["transformer.py", "vision.py"])
def test_unported_and_equal_to_the_cpu(script, chip, on_cpu, tmp_path):
    found = run(SCRIPTS / script, folder=tmp_path, chip=chip)
    assert found.pop("device") == "cuda"
    assert found == {k: v for k, v in on_cpu[script].items() if k != "device"}


@pytest.mark.parametrize("chip", ["nvidia-h200", "kunlun-p800"])
def test_a_trainer_on_accelerate(chip, on_cpu, tmp_path):
    """Its optimizer is foreach on a device and a loop on the CPU: close, not equal."""
    found = run(SCRIPTS / "diffusion.py", tmp_path / "d", "plain", folder=tmp_path, chip=chip)
    assert found["device"] == "cuda"
    assert found["losses"] == pytest.approx(on_cpu["diffusion.py"]["losses"], rel=1e-5)


def test_flash_attention_fails_as_on_a_card(tmp_path):
    """denoising-diffusion-pytorch, 'No available kernel' on an A100: seen by its users, and here without a card."""
    arguments = [python(), str(SCRIPTS / "diffusion.py"), str(tmp_path / "d"), "flash"]
    done = start(arguments, tmp_path, XINQIAO_CHIP="nvidia-h200")
    assert done.returncode == 1
    assert "RuntimeError: No available kernel. Aborting execution." in done.stderr


@pytest.mark.parametrize(("script", "package"), [("transformer.py", "x_transformers"), ("vision.py", "vit_pytorch")])
def test_ported_with_its_package(script, package, on_cpu, tmp_path):
    """The package's own sources and the program are ported; the port runs on another vendor's virtual chip."""
    spec = find_spec(package)
    assert spec is not None
    chip = ports.Target(catalog.load("ascend-910c"))
    (tmp_path / "in").mkdir()
    shutil.copytree(Path(spec.origin).parent, tmp_path / "in" / package)
    shutil.copy(SCRIPTS / script, tmp_path / "in")
    shutil.copy(SCRIPTS / "vision_schemas.py", tmp_path / "in")
    record = ports.port(tmp_path / "in", chip, tmp_path / "out")
    assert "rewritten" in {o.verdict for o in record.occurrences}
    found = run(tmp_path / "out" / script, folder=tmp_path, chip="ascend-910c", path=tmp_path / "out")
    assert found.pop("device") == "npu"
    assert found == {k: v for k, v in on_cpu[script].items() if k != "device"}


def test_accelerate_finds_a_vendors_device(tmp_path, on_cpu):
    """The diffusion package ported, with accelerate as it is published: it knows the vendor's module by name."""
    spec = find_spec("denoising_diffusion_pytorch")
    assert spec is not None
    (tmp_path / "in").mkdir()
    shutil.copytree(Path(spec.origin).parent, tmp_path / "in" / "denoising_diffusion_pytorch")
    for name in ("diffusion.py", "vision_schemas.py"):
        shutil.copy(SCRIPTS / name, tmp_path / "in")
    ports.port(tmp_path / "in", ports.Target(catalog.load("ascend-910c")), tmp_path / "out")
    found = run(
        tmp_path / "out" / "diffusion.py",
        tmp_path / "d",
        "plain",
        folder=tmp_path,
        chip="ascend-910c",
        path=tmp_path / "out",
    )
    assert found["device"] == "npu"
    assert found["losses"] == pytest.approx(on_cpu["diffusion.py"]["losses"], rel=1e-5)
