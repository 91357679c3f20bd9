"""Where experts are placed: what every placement keeps to, and how busy the busiest device is."""

import itertools

import pytest
import torch

from xinqiao.errors import InputError
from xinqiao.ops.placement import place, shares

LOADS = {
    "zipf": lambda experts: 1000.0 / torch.arange(1, experts + 1)[torch.randperm(experts)],
    "lognormal": lambda experts: torch.randn(experts).exp(),
    "equal": lambda experts: torch.ones(experts),
    "one expert": lambda experts: (torch.arange(experts) == 3).float(),
    "none": lambda experts: torch.zeros(experts),
}
SIZES = [(8, 9, 64), (32, 9, 256), (16, 5, 64), (8, 8, 64), (320, 1, 256), (4, 3, 8), (1, 8, 8), (3, 8, 8)]


@pytest.mark.parametrize(("devices", "slots", "experts"), SIZES)
@pytest.mark.parametrize("kind", LOADS)
def test_every_expert_has_a_slot_and_none_has_two_on_a_device(kind, devices, slots, experts):
    torch.manual_seed(0)
    loads = LOADS[kind](experts)
    found = place(loads, devices, slots)
    assert found.shape == (devices, slots)
    assert set(found.flatten().tolist()) == set(range(experts))
    assert all(len(set(row)) == slots for row in found.tolist())
    assert torch.equal(found, place(loads, devices, slots))
    torch.testing.assert_close(shares(loads, found).sum(), loads.double().sum())


def least(loads, found):
    """A device has the mean load or more, and one has the busiest replica and, at best, the least busy ones beside.

    Experts have as many replicas as `place` gives them, which makes the busiest replica as little busy as can be.
    """
    devices, slots = found.shape
    replicas = torch.bincount(found.flatten(), minlength=len(loads))
    each = (loads.double() / replicas).repeat_interleave(replicas).sort().values
    return max(float(loads.double().sum()) / devices, float(each[-1] + each[: slots - 1].sum()))


@pytest.mark.parametrize("kind", ["zipf", "lognormal"])
@pytest.mark.parametrize(
    ("devices", "slots", "experts", "over"),
    [(8, 9, 64, 1.01), (32, 9, 256, 1.01), (16, 5, 64, 1.05), (320, 1, 256, 1.0), (8, 8, 64, 1.01)],
)
def test_the_busiest_device_is_close_to_the_least_possible(kind, devices, slots, experts, over):
    torch.manual_seed(1)
    for _ in range(10):
        loads = LOADS[kind](experts)
        found = place(loads, devices, slots)
        busiest = float(shares(loads, found).max())
        assert busiest <= over * least(loads, found) * (1 + 1e-9)
        if devices * slots > experts:
            in_order = torch.arange(devices * slots).view(devices, slots) % experts
            at_random = torch.randperm(devices * slots).view(devices, slots) % experts
            assert busiest < 0.9 * min(float(shares(loads, naive).max()) for naive in (in_order, at_random))


def test_small_placements_are_almost_the_best():
    torch.manual_seed(2)
    for _ in range(20):
        loads = torch.rand(6)
        found = float(shares(loads, place(loads, 2, 3)).max())
        best = min(
            max(sum(loads[list(a)]), loads.sum() - sum(loads[list(a)])) for a in itertools.combinations(range(6), 3)
        )
        assert found <= 1.05 * float(best)


def test_layers_are_placed_each_on_its_own():
    torch.manual_seed(3)
    loads = torch.rand(2, 3, 16)
    found = place(loads, 4, 5)
    assert found.shape == (2, 3, 4, 5)
    assert torch.equal(found[1, 2], place(loads[1, 2], 4, 5))
    assert shares(loads, found).shape == (2, 3, 4)


@pytest.mark.parametrize(
    ("loads", "devices", "slots", "message"),
    [
        (
            torch.ones(8),
            2,
            3,
            "devices = 2 with slots = 3, expected room for 8 experts and at most one of each on a device",
        ),
        (
            torch.ones(4),
            2,
            5,
            "devices = 2 with slots = 5, expected room for 4 experts and at most one of each on a device",
        ),
        (torch.tensor(1.0), 1, 1, "loads has shape [], expected [..., experts] of numbers from 0 on"),
        (torch.tensor([1, -1.0]), 2, 1, "loads has shape [2], expected [..., experts] of numbers from 0 on"),
    ],
)
def test_errors(loads, devices, slots, message):
    with pytest.raises(InputError) as error:
        place(loads, devices, slots)
    assert str(error.value) == f"place: {message}"
