"""Tables of measured kernels: what is wrong with one, and the chip that one is."""

import pytest

from xinqiao.chips import catalog
from xinqiao.chips.table import Kind, read
from xinqiao.errors import InputError

HEAD = """schema = 1
device = "npu"
name = "Ascend910B3"
capacity = 64e9
torch = "2.13.0"
date = "2026-11-30T00:00:00+00:00"
threads = 1
host = "Kunpeng"
clock = "event"
"""


def line(kind="gemm", form="bf16", shape=(1024, 1024, 1024), seconds=1e-5):
    return (
        f'{{ kind = "{kind}", format = "{form}", shape = {list(shape)}, seconds = {seconds}, spread = 0, repeats = 3 }}'
    )


def written(folder, *lines, head=HEAD, name="mine.toml"):
    file = folder / name
    file.write_text(f"{head}row = [{', '.join(lines)}]\n")
    return file


@pytest.mark.parametrize(
    ("head", "lines", "says"),
    [
        ("schema = ", [], "not TOML"),
        (HEAD.replace("schema = 1", "schema = 2"), [line()], "schema"),
        (HEAD, [], "row: the table has none"),
        (HEAD, [line(shape=(4, 4))], "shape: gemm has m, n, k; this one has 2"),
        (HEAD, [line(form="bf17")], "format: 'bf17' is not one of"),
        (HEAD, [line(kind="gem")], "Invalid enum value 'gem'"),
        (HEAD, [line(seconds=0)], "row[0].seconds"),
        (HEAD.replace('clock = "event"\n', ""), [line()], "missing required field `clock`"),
    ],
)
def test_a_wrong_table_is_one_line_that_names_the_file(tmp_path, head, lines, says):
    with pytest.raises(InputError) as error:
        read(written(tmp_path, *lines, head=head))
    assert says in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "mine.toml"))
    assert "\n" not in str(error.value)


def test_a_table_is_a_chip_with_measured_figures_and_nothing_else(tmp_path):
    file = written(
        tmp_path,
        line(seconds=2 * 1024**3 / 300e12),
        line(shape=(1, 1024, 1024), seconds=1e-5),
        line("copy", "bf16", (2**20,), 1e-9),
        line("copy", "bf16", (10**9,), 2e-3),
        line("launch", "bf16", (1,), 4e-6),
    )
    chip = catalog.load(str(file))
    figures = chip.per_device()
    assert (chip.name, chip.title, chip.torch.device) == ("mine", "Ascend910B3 (measured)", "npu")
    assert figures.peak("bfloat16") == pytest.approx(300e12)
    assert figures.bandwidth == pytest.approx(1e12)  # of the largest copy: smaller ones may stay in a cache
    assert (figures.launch, figures.capacity) == (pytest.approx(4e-6), 64 * 10**9)
    assert figures.peak("float16") is None
    assert figures.scale_up is None
    assert chip.compute.bf16.confidence == "measured"
    assert chip.compute.bf16.source == "mine.toml: `xinqiao calibrate` on Ascend910B3, 2026-11-30, PyTorch 2.13.0"
    assert chip.calibration == str(file)


CHIP = """title = "Mine"
vendor = "Mine"
status = "shipping"
calibration = "tables/mine.toml"
[compute]
fp16 = { value = 400, unit = "TFLOPS", dense = true, confidence = "vendor", source = "a page" }
[torch]
device = "npu"
collective = "hccl"
devices_per_package = 2
confidence = "vendor"
source = "a page"
"""


def chip_file(folder, text=CHIP):
    (folder / "tables").mkdir()
    file = folder / "card.toml"
    file.write_text(text)
    return file


def test_a_chip_keeps_its_own_figures_and_takes_those_that_it_lacks(tmp_path):
    file = chip_file(tmp_path)
    written(tmp_path / "tables", line(seconds=2 * 1024**3 / 300e12), line(form="fp16", seconds=2 * 1024**3 / 150e12))
    chip = catalog.load(str(file))
    assert str(chip.compute.fp16) == "400 TFLOPS dense"
    assert str(chip.compute.bf16) == "600 TFLOPS dense"  # of a package of two devices
    assert chip.per_device().peak("bfloat16") == pytest.approx(300e12)
    assert chip.calibration == str(tmp_path / "tables" / "mine.toml")


def test_a_format_that_a_chip_lacks_stays_lacking(tmp_path):
    file = chip_file(tmp_path, CHIP.replace("[compute]", 'lacks = ["bf16"]\n[compute]'))
    written(tmp_path / "tables", line())
    assert catalog.load(str(file)).compute.bf16.known is False


def test_a_table_of_another_chip_is_not_inherited(tmp_path):
    chip_file(tmp_path)
    written(tmp_path / "tables", line())
    (tmp_path / "other.toml").write_text('base = "card"\ntitle = "Other"\n')
    other = catalog.load(str(tmp_path / "other.toml"))
    assert (other.calibration, other.compute.bf16.known) == ("", False)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (None, "calibration: "),
        (HEAD.replace("schema = 1", "schema = 9"), "calibration: "),
        (HEAD.replace("npu", "cuda"), "was measured on a 'cuda' device, this chip is 'npu'"),
    ],
)
def test_a_missing_or_wrong_table_names_the_chips_file(tmp_path, head, says):
    file = chip_file(tmp_path)
    if head:
        written(tmp_path / "tables", line(), head=head)
    with pytest.raises(InputError) as error:
        catalog.load(str(file))
    assert str(error.value).startswith(f"{file}: calibration: ")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_every_kind_says_what_its_shape_lists():
    from typing import get_args

    from xinqiao.chips.table import SIZES

    assert set(SIZES) == set(get_args(Kind))
