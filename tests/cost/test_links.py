"""Seconds of collectives on machines: bytes and hops by hand, laws, and DeepEP's published latencies."""

import pytest

from xinqiao.chips import catalog, nodes
from xinqiao.cost import links
from xinqiao.cost.links import Efficiency, Group, Routing, Transfer
from xinqiao.cost.unknown import Unknown

WHOLE = Efficiency(rate=1.0, latency=1e-6)
MB, US = 1e6, 1e-6
HOPPER = nodes.of(catalog.load("nvidia-h100"))  # 8 on a switch of 450 GB/s and 2 us; outside 50 GB/s and 8.35 us
MESH = nodes.of(catalog.load("ascend-910b"))  # 8 on 7 links of 28 GB/s, 0.5 us; outside 25 GB/s and 1.5 us
POD = nodes.load("cloudmatrix-384", catalog.load("ascend-910c"))  # 2: 224; 16 and 768: 196 of one port; outside 25
FOURS = nodes.of(catalog.load("ascend-atlas-350"))  # 4 on 3 links of 53; 8 and 16: 32 and 24 of the host port


def ring(size, rate):
    """A machine of devices in a ring, each with `rate` over its two links together."""
    level = MESH.levels[0]._replace(size=size, width=size, topology="ring", rate=rate)
    return MESH._replace(levels=(level, MESH.levels[1]))


def outside(nbytes, rate):
    return nbytes / (rate * 1e9)


@pytest.mark.parametrize(
    ("collective", "node", "group", "nbytes", "link", "latency"),
    [
        ("all_gather", HOPPER, Group(8), 64 * MB, outside(64 * MB * 7 / 8, 450), 2.0 * US),
        ("reduce_scatter", HOPPER, Group(8), 64 * MB, outside(64 * MB * 7 / 8, 450), 2.0 * US),
        ("all_reduce", HOPPER, Group(8), 64 * MB, outside(64 * MB * 7 / 4, 450), 4.0 * US),  # two-shot
        ("all_reduce", HOPPER, Group(8), 1000, outside(7 * 1000, 450), 2.0 * US),  # one-shot
        ("all_reduce", HOPPER, Group(2, 8), 64 * MB, outside(64 * MB, 50), 8.35 * US),  # two servers swap all they have
        # inside: 7/4 of 64 MB at 450; outside: 2 × 15/16 of an eighth of it at 50, which is slower
        ("all_reduce", HOPPER, Group(128), 64 * MB, outside(8 * MB * 15 / 8, 50), 2 * (2.0 + 4 * 8.35) * US),
        ("all_reduce", HOPPER, Group(16), 64 * MB, outside(64 * MB * 7 / 4, 450), 2 * (2.0 + 8.35) * US),
        ("all_reduce", HOPPER, Group(8, 2), 64 * MB, outside(16 * MB, 50), 2 * (2.0 + 8.35) * US),  # 4 a server
        ("all_gather", MESH, Group(8), 64 * MB, outside(64 * MB * 7 / 8, 196), 0.5 * US),
        ("all_gather", MESH, Group(2), 64 * MB, outside(32 * MB, 28), 0.5 * US),  # one of the seven links
        ("all_gather", MESH, Group(4, 2), 64 * MB, outside(48 * MB, 84), 0.5 * US),  # three of them
        ("all_gather", POD, Group(2), 64 * MB, outside(32 * MB, 224), 0.2 * US),
        # 7/8 of a half in the server, 1/2 of a sixteenth in the pod, over the same port
        ("all_gather", POD, Group(32), 64 * MB, outside(28 * MB + 2 * MB, 196), (0.2 + 0.5 + 5.5) * US),
        ("all_gather", FOURS, Group(4, 4), 64 * MB, outside(32 * MB, 32) + outside(16 * MB, 24), (3.0 + 4.5) * US),
        ("all_gather", FOURS, Group(8), 64 * MB, outside(48 * MB, 159), (1.5 + 3.0) * US),
        ("all_gather", ring(8, 80e9), Group(8), 64 * MB, outside(56 * MB, 80), 7 * 0.5 * US),
        ("all_to_all", HOPPER, Group(8), 64 * MB, outside(56 * MB, 450), 2.0 * US),
        ("all_to_all", HOPPER, Group(32), 64 * MB, outside(48 * MB, 50), 8.35 * US),
        ("all_to_all", POD, Group(32), 64 * MB, outside(28 * MB + 32 * MB, 196), 5.5 * US),
        ("all_to_all", ring(8, 80e9), Group(8), 64 * MB, outside(56 * MB * 16 / 7, 80), 4 * 0.5 * US),
        ("broadcast", HOPPER, Group(8), 64 * MB, outside(64 * MB, 450), 3 * 2.0 * US),
        ("broadcast", HOPPER, Group(16), 64 * MB, outside(8 * MB, 50), (3 * 2.0 + 8.35) * US),
        ("point_to_point", HOPPER, Group(2), 64 * MB, outside(64 * MB, 450), 2.0 * US),
        ("point_to_point", HOPPER, Group(4, 8), 64 * MB, outside(64 * MB, 50), 8.35 * US),
        ("point_to_point", MESH, Group(4, 2), 64 * MB, outside(64 * MB, 28), 0.5 * US),
        ("point_to_point", ring(8, 80e9), Group(8), 64 * MB, outside(64 * MB, 40), 0.5 * US),
    ],
)
def test_by_hand(collective, node, group, nbytes, link, latency):
    found = getattr(links, collective)(node, group, nbytes, WHOLE)
    assert found == Transfer(pytest.approx(link), pytest.approx(latency))
    assert found.total == pytest.approx(link + latency)


COPY = 7168.0


@pytest.mark.parametrize(
    ("node", "group", "routing", "link", "latency"),
    [
        # 128 tokens × 8 copies, of which 1/32 stay, 7/32 in the server, 24/32 outside
        (HOPPER, Group(32), Routing(128, COPY, 8), outside(1024 * COPY * 24 / 32, 50), 8.35 * US),
        (HOPPER, Group(32), Routing(128, COPY, 8, inner_links=False), outside(1024 * COPY * 31 / 32, 50), 8.35 * US),
        (HOPPER, Group(8), Routing(128, COPY, 8), outside(1024 * COPY * 7 / 8, 450), 2.0 * US),
        (HOPPER, Group(8), Routing(128, COPY, 8, inner_links=False), outside(1024 * COPY * 7 / 8, 50), 8.35 * US),
        # once to each of 4 × (1 − (3/4)^8) servers, an eighth of them its own
        (HOPPER, Group(64), Routing(128, COPY, 8, 4), outside(128 * COPY * 3.59955 * 7 / 8, 50), 10.35 * US),
        # one server: once to each of 8 × (1 − (7/8)^8) devices, an eighth of them its own
        (HOPPER, Group(8), Routing(128, COPY, 8, 4), outside(128 * COPY * 5.25113 * 7 / 8, 450), 2.0 * US),
        (HOPPER, Group(1), Routing(128, COPY, 8, inner_links=False), 0.0, 0.0),
    ],
)
def test_experts_by_hand(node, group, routing, link, latency):
    expected = Transfer(pytest.approx(link, rel=1e-5), pytest.approx(latency))
    assert links.dispatch(node, group, routing, WHOLE) == expected
    assert links.combine(node, group, routing, WHOLE) == expected


COLLECTIVES = [
    links.all_gather,
    links.reduce_scatter,
    links.all_reduce,
    links.all_to_all,
    links.broadcast,
    links.point_to_point,
    lambda node, group, nbytes, eff: links.dispatch(node, group, Routing(int(nbytes), 1.0, 8), eff),
    lambda node, group, nbytes, eff: links.dispatch(node, group, Routing(int(nbytes), 1.0, 8, 4), eff),
]
EACH = pytest.mark.parametrize("collective", COLLECTIVES)
NODE = pytest.mark.parametrize("node", [HOPPER, MESH, POD, ring(8, 80e9)], ids=["switch", "mesh", "pod", "ring"])
SIZES = (1, 2, 3, 4, 8, 12, 16, 32, 64, 256, 768)
BYTES = (0, 1, 1e3, 1e5, 1e7, 1e9)


@EACH
@NODE
def test_alone_is_free(collective, node):
    assert collective(node, Group(1), 1e9, WHOLE) == (0, 0)


@EACH
@NODE
def test_more_bytes_take_longer(collective, node):
    for size in SIZES:
        seconds = [collective(node, Group(size), nbytes, WHOLE).total for nbytes in BYTES]
        assert seconds == sorted(seconds), size


@pytest.mark.parametrize(
    ("collective", "node"),
    [*((collective, HOPPER) for collective in COLLECTIVES), *((collective, POD) for collective in COLLECTIVES[:3])],
)
def test_more_devices_take_longer(collective, node):
    """Where they do not bring links of their own, as on a mesh, or beside the link between two dies."""
    for nbytes in BYTES:
        seconds = [collective(node, Group(size), nbytes, WHOLE).total for size in SIZES]
        assert seconds == sorted(seconds), nbytes


@EACH
@pytest.mark.parametrize("node", [HOPPER, MESH, POD], ids=["switch", "mesh", "pod"])
def test_two_levels_take_no_less_than_the_inner_one(collective, node):
    inner = node.levels[0].size
    for nbytes in BYTES:
        for times in (2, 16):
            both = collective(node, Group(inner * times), nbytes, WHOLE)
            assert both.total >= collective(node, Group(inner), nbytes, WHOLE).total


@NODE
def test_an_all_reduce_takes_no_less_than_a_reduce_scatter(node):
    for size in SIZES:
        for nbytes in BYTES:
            args = (node, Group(size), nbytes, WHOLE)
            assert links.all_reduce(*args).total >= links.reduce_scatter(*args).total


def test_efficiency():
    args = (MESH, Group(16), 64 * MB)
    whole, half = (links.all_reduce(*args, Efficiency(rate, 1.0)) for rate in (1.0, 0.5))
    assert half == Transfer(2 * whole.link, whole.latency)  # the machine's own latencies
    unknown = nodes.of(catalog.load("amd-mi300x"))
    assert links.all_reduce(unknown, Group(16), 1e6, Efficiency(0.8, 3e-6)).latency == pytest.approx(12e-6)


@pytest.mark.parametrize(
    ("chip", "size", "fact"),
    [
        ("kunlun-p800", 8, "scale_up of Kunlunxin P800"),
        ("moore-threads-s4000", 16, "scale_out of Moore Threads MTT S4000"),
        ("ascend-950dt", 16384, "scale_out of Huawei Ascend 950DT"),
    ],
)
def test_an_unknown_rate_is_named(chip, size, fact):
    node = nodes.of(catalog.load(chip))
    with pytest.raises(Unknown, match=fact):
        links.all_reduce(node, Group(size), 1e6, WHOLE)
    assert links.all_reduce(node, Group(1), 1e6, WHOLE) == (0, 0)


def test_what_stays_in_the_server_asks_for_nothing_outside():
    assert links.all_reduce(nodes.of(catalog.load("moore-threads-s4000")), Group(8), 1e6, WHOLE).link > 0


# deepseek-ai/DeepEP's README: low-latency kernels on H800, 128 tokens, top-8: microseconds of dispatch and combine.
# Over RDMA alone (first release), and over NVLink where possible (after pull request 173).
RDMA = {8: (163, 318), 16: (173, 329), 32: (182, 350), 64: (186, 353), 128: (192, 369), 256: (194, 360)}
NVLINK = {8: (77, 114), 16: (118, 195), 32: (155, 273), 64: (173, 314), 128: (192, 369), 256: (194, 360)}
TOKEN = (7168 + 7168 / 128 * 4, 7168 * 2)  # bytes: fp8 with a scale in fp32 for each 128; bf16


def h800():
    """With no latency on file, so that both constants are fitted."""
    node = nodes.of(catalog.load("nvidia-h800"))
    return node._replace(levels=tuple(level._replace(latency=None) for level in node.levels))


def deepep(size, token, eff, *, inner_links):
    return links.dispatch(h800(), Group(size), Routing(128, token, 8, inner_links=inner_links), eff)


def fitted():
    """Least squares of the relative errors of seconds = link/rate + latency over the first release's rows."""
    rows = [
        (deepep(size, token, WHOLE, inner_links=False).link / (us * US), 1 / (us * US))
        for size, both in RDMA.items()
        for token, us in zip(TOKEN, both, strict=True)
    ]
    aa, ab, bb = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = (sum(row[i] for row in rows) for i in (0, 1))
    determinant = aa * bb - ab * ab
    return Efficiency(rate=determinant / (a * bb - b * ab), latency=(b * aa - a * ab) / determinant)


def test_constants_fitted_to_the_first_release_are_sane():
    eff = fitted()
    assert eff == (pytest.approx(0.823, abs=0.001), pytest.approx(4.8e-6, abs=0.1e-6))


@pytest.mark.parametrize("size", RDMA)
@pytest.mark.parametrize(
    ("published", "inner_links", "within"),
    [(RDMA, False, lambda size: 0.04), (NVLINK, True, lambda size: 0.09 if size >= 32 else 0.45)],
)
def test_deepep(size, published, inner_links, within):
    """With few devices in a server the kernels do not fill NVLink, which the constants of RDMA cannot know."""
    for token, us in zip(TOKEN, published[size], strict=True):
        seconds = deepep(size, token, fitted(), inner_links=inner_links).total
        assert seconds == pytest.approx(us * US, rel=within(size))


@pytest.mark.parametrize(
    ("size", "published", "within"),  # GB/s of dispatch and combine, as DeepEP's documents count them
    [(8, (153, 158), 0.25), (16, (43, 43), 0.40), (32, (58, 57), 0.10), (64, (51, 50), 0.10)],
)
def test_deepep_through_servers(size, published, within):
    """Normal kernels, 4096 tokens, top-8 in 4 servers; counted: a token for each server (in one: device), own too."""
    boxes = min(size // 8, 4) if size > 8 else 8
    counted = 4096 * boxes * (1 - (1 - 1 / boxes) ** 8)
    for token, gigabytes in zip(TOKEN, published, strict=True):
        seconds = links.dispatch(h800(), Group(size), Routing(4096, token, 8, 4), fitted()).total
        assert counted * token / seconds / 1e9 == pytest.approx(gigabytes, rel=within)
