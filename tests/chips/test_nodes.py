"""Machines: the files that ship, the machine of each chip, and what a broken file says."""

import pytest

from xinqiao.chips import catalog, nodes
from xinqiao.chips.nodes import NODES, read
from xinqiao.errors import InputError

FILES = sorted(NODES.glob("*.toml"))
CHIPS = catalog.all_chips()
G, US = 1e9, 1e-6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_names_its_chips_and_sources(path):
    spec = read(path)
    assert set(spec.chips) <= set(catalog.names())
    assert all(level.source for level in spec.levels)
    for level in spec.levels:
        assert level.rate is None or level.rate.known
        assert level.latency.known or level.latency.note


def test_a_chip_has_one_usual_machine():
    usual = [chip for path in FILES for spec in [read(path)] if spec.usual for chip in spec.chips]
    assert len(usual) == len(set(usual))


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_every_chip_has_a_machine(chip):
    node = nodes.of(chip)
    assert node.chip == chip.name
    assert node.levels[-1].size is None
    assert all(level.rate or chip.title in level.fact for level in node.levels)


@pytest.mark.parametrize(
    ("chip", "node", "levels"),  # devices, topology, bytes/s one way of one device, seconds of a hop
    [
        ("nvidia-h800", "hgx-hopper", [(8, "switch", 200 * G, 2.0 * US), (None, "switch", 50 * G, 8.35 * US)]),
        ("nvidia-h200", "hgx-hopper", [(8, "switch", 450 * G, 2.0 * US), (None, "switch", 50 * G, 8.35 * US)]),
        ("nvidia-gb300", "gb300-nvl72", [(72, "switch", 900 * G, 2.0 * US), (None, "switch", 100 * G, 8.35 * US)]),
        ("amd-mi300x", "mi300x-platform", [(8, "mesh", 448 * G, None), (None, "switch", 50 * G, None)]),
        ("ascend-910b3", "atlas-800-a2", [(8, "mesh", 196 * G, 0.5 * US), (None, "switch", 25 * G, 1.5 * US)]),
        ("ascend-910b4", "atlas-800-a2-pcie", [(8, "pcie", 64 * G, 0.2 * US), (None, "switch", None, None)]),
        (
            "ascend-910c",  # of a die: half of the package's 392 and 50
            "cloudmatrix-384",
            [
                (2, "switch", 224 * G, 0.2 * US),
                (16, "switch", 196 * G, 0.5 * US),
                (768, "switch", 196 * G, 5.5 * US),
                (None, "switch", 25 * G, None),
            ],
        ),
        (
            "ascend-atlas-350",
            "atlas-350-server",
            [
                (4, "mesh", 159 * G, 1.5 * US),
                (8, "pcie", 32 * G, 3.0 * US),
                (16, "pcie", 24 * G, 4.5 * US),
                (None, "switch", None, None),
            ],
        ),
        ("ascend-950dt", "atlas-950-superpod", [(8192, "switch", 1000 * G, None), (None, "switch", None, None)]),
        ("kunlun-p800", "p800-oam", [(8, "ring", None, None), (None, "switch", None, None)]),
        ("moore-threads-s4000", "", [(8, "switch", 120 * G, None), (None, "switch", None, None)]),  # two-way 240
    ],
)
def test_the_usual_machine(chip, node, levels):
    found = nodes.of(catalog.load(chip))
    assert found.name == node
    assert [(level.size, level.topology) for level in found.levels] == [level[:2] for level in levels]
    for level, (_, _, rate, latency) in zip(found.levels, levels, strict=True):
        assert level.rate == (rate and pytest.approx(rate))
        assert level.latency == (latency and pytest.approx(latency))


def test_a_pod_by_name():
    pod = nodes.load("cloudmatrix-384", catalog.load("ascend-910c-560t"))
    assert [(level.size, level.width) for level in pod.levels] == [(2, 2), (16, 8), (768, 48), (None, None)]
    assert nodes.load("gb300-nvl72") == nodes.of(catalog.load("nvidia-gb300"))


def test_a_chip_based_on_another_has_its_machine(tmp_path):
    path = tmp_path / "acme.toml"
    path.write_text('base = "ascend-910c"\ntitle = "Acme"\n')
    assert nodes.of(catalog.load(str(path))).name == "cloudmatrix-384"


@pytest.mark.parametrize(
    ("name", "chip", "message"),
    [
        ("hgx-hoper", None, "no node 'hgx-hoper'; did you mean hgx-hopper"),
        ("hgx-hopper", None, "node 'hgx-hopper' is built with several chips; name one of nvidia-h100"),
        ("gb300-nvl72", "nvidia-h100", "node 'gb300-nvl72' is built with nvidia-gb300, not with nvidia-h100"),
    ],
)
def test_wrong_names(name, chip, message):
    with pytest.raises(InputError) as error:
        nodes.load(name, chip and catalog.load(chip))
    assert str(error.value).startswith(message)


NODE = """
title = "Acme"
chips = ["acme"]
[[levels]]
name = "node"
size = 8
topology = "switch"
port = "scale_up"
source = "Acme"
[[levels]]
name = "cluster"
topology = "switch"
port = "scale_out"
source = "Acme"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size = 8", "", "levels: the last one, and only that, has no size: it joins any number of devices"),
        (
            'name = "cluster"',
            'name = "pod"\nsize = 12\ntopology = "ring"\nport = "host"\nsource = "x"\n[[levels]]\nname = "cluster"',
            "levels[1].size: 12 is not a multiple of the level inside it, 8",
        ),
        ("size = 8", "size = 1", "levels[0].size: expected int >= 2"),
        ('name = "cluster"', 'name = "c"\nsize = 12', "levels: the last one, and only that, has no size"),
        (
            'topology = "switch"\nport = "scale_up"',
            'topology = "star"\nport = "scale_up"',
            "levels[0].topology: 'star' is not one of switch, mesh, ring, pcie",
        ),
        ('port = "scale_up"', 'port = "die"', "levels[0].rate: missing; chips state no rate between dies"),
        ('title = "Acme"', "", "title: missing"),
        ('title = "Acme"', 'title = "Acme"\nchip = "acme"', "chip: unknown key; did you mean chips"),
        (
            'port = "scale_up"',
            'port = "scale_up"\nrate = { value = 9, unit = "GB/s", confidence = "press", source = "x" }',
            "levels[0].rate.direction: missing; one-way, or two-way",
        ),
        ("[[levels]]", "[levels", "not TOML"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, old, new, message):
    path = tmp_path / "acme.toml"
    path.write_text(NODE.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
