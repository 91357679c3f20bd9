"""Fingerprints: equal only where every bit is, and close to the true distance where they are not."""

import pytest
import torch

from xinqiao.native.fingerprint import Fingerprint

DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "bool", "complex64", "float8_e4m3fn"]
SIZES = [1, 7, 255, 256, 257, 4096, 16_384, 16_385, 100_003]


def of(*tensors):
    found = Fingerprint()
    for t in tensors:
        found.add(t.data_ptr(), t.numel(), t.element_size(), str(t.dtype).removeprefix("torch."))
    return found


def random(size, dtype, seed=0):
    values = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    return (values > 0) if dtype == "bool" else (values * 100).to(getattr(torch, dtype))


def distance(a, b):
    squared = sum((x - y) ** 2 for x, y in zip(a.sketch, b.sketch, strict=True)) / len(a.sketch)
    return (squared / a.square) ** 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_the_same_bits_give_the_same_numbers(size, dtype):
    a, b = of(random(size, dtype)), of(random(size, dtype).clone())
    assert bytes(a) == bytes(b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_one_flipped_bit_gives_another_hash(size, dtype):
    values = random(size, dtype)
    for place in {0, size // 2, size - 1}:
        other = values.clone()
        other.view(torch.uint8)[place * values.element_size()] ^= 1
        assert of(other).hash != of(values).hash, place


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])),  # order
        (torch.zeros(4), torch.zeros(5)),  # length
        (torch.tensor([0.0]), torch.tensor([-0.0])),  # the sign of zero
    ],
)
def test_what_is_not_the_same_has_another_hash(a, b):
    assert of(a).hash != of(b).hash


def test_tensors_one_after_the_other_are_told_apart_by_their_order():
    a, b = random(300, "float32", 1), random(300, "float32", 2)
    assert of(a, b).hash != of(b, a).hash
    assert of(a, b).square == pytest.approx(of(b, a).square)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("size", [1000, 16_384, 1_000_000])
@pytest.mark.parametrize("apart", [1.0, 0.05])
def test_the_distance_is_told_within_a_factor(size, dtype, apart):
    """Root mean square over many tensors: one estimate of two sketches may be off by several times."""
    ratios = []
    for seed in range(40):
        a = random(size, dtype, seed)
        b = a + apart * random(size, dtype, 1000 + seed)
        true = ((a.double() - b.double()).norm() / a.double().norm()).item()
        ratios.append((distance(of(a), of(b)) / true) ** 2)
    assert 0.5 < sum(ratios) / len(ratios) < 2.0


def test_sum_of_squares():
    values = random(5000, "float32")
    assert of(values).square == pytest.approx(values.double().square().sum().item(), rel=1e-5)
