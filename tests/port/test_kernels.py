"""Kernels in all their forms: what is found in them, what is said of them, and the function that is left to write."""

import ast
import subprocess
import sys

import pytest

from tests.port.test_additions import tree, write
from tests.processor import within
from xinqiao import port as ports
from xinqiao.chips import catalog
from xinqiao.port import cuda_source

CHIP = ports.Target(catalog.load("ascend-910c"))
CUDA = r"""
#include <torch/extension.h>
// __global__ void not_this(int* x);
/* __global__ void nor_this(int* x) {} */
template <typename scalar_t>
__global__ void __launch_bounds__(256, 2) add_kernel(
    const scalar_t* __restrict__ x,  // first
    torch::PackedTensorAccessor32<float, 2, torch::RestrictPtrTraits> y,
    int n) { }

torch::Tensor add(const torch::Tensor& x, torch::Tensor y, double alpha = 1.0, bool fast) {
  add_kernel<float><<<1, 256>>>(x.data_ptr<float>(), y, 3);
  return add(x, y, 1.0, true);
}
std::vector<at::Tensor> forward(at::Tensor x) { return {x}; }
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("add", &add, "adds");
  m.def("forward", &forward);
  m.def("elsewhere", &other::elsewhere);
}
"""
LIBRARY = r"""
TORCH_LIBRARY(ops, m) { m.def("scale(Tensor x, float factor=1.0) -> Tensor"); m.def("shift(Tensor(a!) x) -> ()"); }
TORCH_LIBRARY_IMPL(ops, CUDA, m) { m.impl("scale", &scale_cuda); }
"""
TRITON = """import triton
import triton.language as tl
@triton.jit
def add_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    pass
"""
PROJECT = {
    "net/__init__.py": "",
    "net/kernels.py": TRITON,
    "net/use.py": "from .kernels import add_kernel\n\ndef f(x):\n    add_kernel[(1,)](x, x, 3, BLOCK=4)\n",
    "csrc/add.cu": CUDA,
    "model.py": "import adder\n\ny = adder.add(x, x, 1.0, True)\n",
    "more.py": "# add(1)\ndef add(x):\n    return x\n",
}


def line_of(text):
    return CUDA[: CUDA.index(text)].count("\n") + 1


def entries(text):
    return {e.name: e.signature for e in [*cuda_source.exported(text), *cuda_source.kernels(text)]}


def test_entry_points_and_their_signatures():
    assert entries(CUDA) == {
        "add": "torch::Tensor add(const torch::Tensor& x, torch::Tensor y, double alpha = 1.0, bool fast)",
        "forward": "std::vector<at::Tensor> forward(at::Tensor x)",
        "elsewhere": "void elsewhere()",
        "add_kernel": "void add_kernel(const scalar_t* __restrict__ x, "
        "torch::PackedTensorAccessor32<float, 2, torch::RestrictPtrTraits> y, int n)",
    }


def test_operators_of_a_library_have_their_schema():
    assert entries(LIBRARY) == {"scale": "Tensor scale(Tensor x, float factor=1.0)", "shift": "() shift(Tensor(a!) x)"}


def test_every_entry_point_has_a_verdict_with_its_callers(tmp_path):
    record = ports.check(write(tmp_path, PROJECT), CHIP)
    said = {(o.file, o.line): o.reason for o in record.occurrences if o.rule == "kernels"}
    assert all(o.verdict == "needs-you" for o in record.occurrences if o.rule == "kernels")
    assert "called at model.py:3: write add_reference" in said["csrc/add.cu", line_of('m.def("add"')]
    assert "void add_kernel(const scalar_t*" in said["csrc/add.cu", line_of("__global__ void __launch")]
    assert "add_kernel(x_ptr, y_ptr, n, BLOCK), launched at net/use.py:4" in said["net/kernels.py", 3]
    assert "call add_kernel_reference" in said["net/use.py", 4]


def test_a_port_adds_the_functions_to_write(tmp_path):
    project = write(tmp_path / "project", PROJECT)
    ports.port(project, CHIP, tmp_path / "out")
    new = {n: t.decode() for n, t in tree(tmp_path / "out").items() if n not in PROJECT}
    assert set(new) == {
        "net/xinqiao_substitutes/__init__.py",
        "net/xinqiao_substitutes/add_kernel_reference.py",
        "xinqiao_substitutes/__init__.py",
        "xinqiao_substitutes/add_reference.py",
        "xinqiao_substitutes/add_forward_reference.py",
        "xinqiao_substitutes/elsewhere_reference.py",
    }
    text = new["net/xinqiao_substitutes/add_kernel_reference.py"]
    assert "def add_kernel_reference(x_ptr: Tensor, y_ptr: Tensor, n: Tensor | float, BLOCK: int) -> None:" in text
    text = new["xinqiao_substitutes/add_reference.py"]
    assert "def add_reference(x: Tensor, y: Tensor, alpha: float, fast: bool) -> Tensor:" in text
    assert ports.undo(tmp_path / "out") == sorted(new)


def test_a_function_that_is_not_written_stops_with_its_callers(tmp_path):
    project = write(tmp_path, PROJECT)
    ports.port(project, CHIP, None, in_place=True)
    code = "from xinqiao_substitutes.add_reference import add_reference\nadd_reference(1, 2, 3, 4)"
    run = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)
    assert "NotImplementedError: add_reference is not written yet; it is called at model.py:3" in run.stderr


def test_what_a_person_has_written_stays(tmp_path):
    project = write(tmp_path / "project", PROJECT)
    ports.port(project, CHIP, tmp_path / "out")
    mine = tmp_path / "out/xinqiao_substitutes/add_reference.py"
    mine.write_text("def add_reference(x, y, alpha, fast):\n    return x + alpha * y\n")
    assert b"xinqiao_substitutes" not in ports.diff(tmp_path / "out", CHIP)
    ports.port(tmp_path / "out", CHIP, None, in_place=True, force=True)
    assert "x + alpha * y" in mine.read_text()


def test_nothing_is_added_by_a_check(tmp_path):
    project = write(tmp_path, PROJECT)
    before = tree(project)
    ports.check(project, CHIP)
    assert tree(project) == before


HOSTILE = {
    "names without end": "__global__ void " + "a" * 200_000 + "(",
    "parentheses without end": "__global__ void f" + "(" * 200_000,
    "kernels without end": "__global__ void f(int x);" * 20_000,
    "words without end": "__global__ " * 30_000,
    "spaces without end": "__global__ void" + " " * 300_000 + "f(int x)",
    "a comment without end": "/*" * 100_000,
    "a string without end": '"' + "\\" * 200_001,
    "definitions without end": 'm.def("f", &f);' + "int f" * 50_000,
    "templates without end": 'm.def("f", &f);' + "a<" * 100_000 + "f(",
    "schemas without end": 'm.def("f(' * 30_000,
    "scopes without end": 'm.def("f", &f);' + "a::" * 100_000 + "f(",
    "nothing of C++": bytes(range(256)).decode("latin-1") * 500,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_sources_are_read_in_bounded_time(text):
    with within(2):
        entries(text)


@pytest.mark.parametrize("name", ["lambda", "x", "x, x"])
def test_odd_parameters_make_python(name):
    text = f'm.def("f", &f); int f({", ".join(f"float {n}" for n in name.split(", "))}, int = 3, float[4]) {{}}'
    from xinqiao.port import stubs

    [entry] = cuda_source.exported(text)
    parameters = stubs.parameters_of_c(entry.parameters)
    ast.parse(stubs.stub("f", "a.cu:1", parameters, result="Tensor", signature='"\\', called=[]))
