"""The arithmetic of choices, in plain PyTorch and in vector.h: the same bits."""

import ctypes
import subprocess

import pytest
import torch

from xinqiao import ops
from xinqiao.native import kernels
from xinqiao.native.build import compiler
from xinqiao.native.processor import LEVELS, levels
from xinqiao.ops.reference import exact

PROGRAM = """
#include "vector.h"
extern "C" void run_fma(const float *a, const float *b, const float *c, float *to, long n) {
    for (long i = 0; i < n; i += 16) xq::store(to + i, xq::fma(xq::load(a + i), xq::load(b + i), xq::load(c + i)));
}
extern "C" void run_exp(const float *x, float *to, long n) {
    for (long i = 0; i < n; i += 16) xq::store(to + i, xq::exp(xq::load(x + i)));
}
extern "C" float run_total(const float *x, long n) {
    xq::Floats sum = xq::all(0.0f);
    for (long i = 0; i < n; i += 16) sum = sum + xq::load(x + i);
    return xq::total(sum);
}
extern "C" void run_transpose(const float *x, float *to) { xq::transpose16(x, 16, to, 16); }
"""
COUNT = 1 << 18
SPECIAL = [
    torch.nan,
    torch.inf,
    -torch.inf,
    0.0,
    -0.0,
    88.0,
    89.0,
    -87.0,
    -88.0,
    1e-40,
    3.4e38,
    -3.4e38,
    1.0,
    -1.0,
    0.5,
    2.0,
]


@pytest.fixture(scope="module", params=levels())
def native(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact")
    (folder / "program.cpp").write_text(PROGRAM)
    include = f"-I{kernels.__file__.rpartition('/')[0]}"
    flags = [f for f in kernels.FLAGS if f != "-fvisibility=hidden"]
    command = [
        compiler(),
        *flags,
        *LEVELS[request.param].flags,
        include,
        folder / "program.cpp",
        "-o",
        folder / "exact.so",
    ]
    subprocess.run([str(word) for word in command], check=True)
    found = ctypes.CDLL(str(folder / "exact.so"))
    found.run_total.restype = ctypes.c_float
    return found


def address(t):
    return ctypes.c_void_p(t.data_ptr())


def any_bits(seed):
    make = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**31), 2**31 - 1, (COUNT,), generator=make).int().view(torch.float32)


def same(a, b):
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


@pytest.mark.parametrize("kind", ["any bits", "sums that nearly cancel"])
def test_fma(native, kind):
    a, b, c = (any_bits(seed) for seed in range(3))
    if kind != "any bits":
        make = torch.Generator().manual_seed(3)
        a, b = torch.randn(2, COUNT, generator=make)
        c = -(a * b) * (1 + torch.randint(-3, 4, (COUNT,), generator=make) * 2.0**-24)
    got = torch.empty(COUNT)
    native.run_fma(address(a), address(b), address(c), address(got), ctypes.c_long(COUNT))
    assert same(got, exact.fma(a, b, c))


def test_exp(native):
    x = torch.cat([torch.randn(COUNT, generator=torch.Generator().manual_seed(0)) * 30, torch.tensor(SPECIAL)])
    got = torch.empty_like(x)
    native.run_exp(address(x), address(got), ctypes.c_long(len(x)))
    assert same(got, exact.exp(x))
    true = x.double().clamp(-87, 88).exp()
    assert ((got.double() - true) / true).nan_to_num(0).abs().max() < 2**-23  # one unit in the last place


@pytest.mark.parametrize("count", [16, 160, 4000])
def test_total(native, count):
    x = torch.randn(count, generator=torch.Generator().manual_seed(count))
    assert native.run_total(address(x), ctypes.c_long(count)) == exact.total(x).item()


def test_transpose(native):
    x = torch.arange(256.0).view(16, 16)
    got = torch.empty_like(x)
    native.run_transpose(address(x), address(got))
    assert torch.equal(got, x.T)


def test_dot_adds_products_in_order():
    a, b = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(3, 3)
    for i in range(7):
        expected = exact.fma(a[:, None, i], b[None, :, i], expected)
    assert torch.equal(exact.dot(a, b), expected)


def test_every_public_name_is_there():
    for name in ops.__all__:
        assert callable(getattr(ops, name)), name
