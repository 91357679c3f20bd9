"""The same line on different chips: what is data about a vendor decides the verdict."""

import pytest

from tests.port.test_rules import ported

VISIBLE = 'import os\nos.environ["CUDA_VISIBLE_DEVICES"] = "0"\n'
ALLOCATOR = 'import os\nos.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"\n'
DOUBLE = "import torch\ny = x.double()\n"
FLOAT8 = "import torch\ny = x.to(torch.float8_e4m3fn)\n"
FFT = "import torch\ny = torch.fft.fft(x)\n"
COMPILE = "import torch\ny = torch.compile(x)\n"
MONITOR = 'import subprocess\nsubprocess.run(["nvidia-smi"])\n'
TF32 = "import torch\ntorch.backends.cuda.matmul.allow_tf32 = True\n"
FLASH = "from flash_attn import flash_attn_func\n"
BNB = "import bitsandbytes as bnb\n"
TRITON = "import triton\n"
COMPILED = "import xentropy_cuda\n"
KERNEL = "import triton\n@triton.jit\ndef k(x_ptr): ...\n"
TENSORRT = 'import torch\ny = torch.compile(x, backend="tensorrt")\n'
CAPABILITY = "import torch\nold = torch.cuda.get_device_capability(0)[0] < 8\n"
PROCESSORS = "import torch\nn = torch.cuda.get_device_properties(0).multi_processor_count\n"
AVAILABLE = "import torch\nif torch.cuda.is_available(): ...\n"


@pytest.mark.parametrize(
    ("chip", "code", "expected", "why"),
    [
        ("ascend-910c", VISIBLE, "rewritten", "ASCEND_RT_VISIBLE_DEVICES"),
        ("cambricon-mlu590", VISIBLE, "rewritten", "MLU_VISIBLE_DEVICES"),
        ("hygon-bw1000", VISIBLE, "needs-you", "HIP_VISIBLE_DEVICES"),
        ("metax-c500", VISIBLE, "safe", "reads it"),
        ("nvidia-h20", VISIBLE, "safe", "reads it"),
        ("enflame-s60", ALLOCATOR, "rewritten", "PYTORCH_GCU_ALLOC_CONF"),
        ("biren-br166", ALLOCATOR, "needs-you", "not known"),
        ("nvidia-h20", ALLOCATOR, "safe", "reads it"),
        ("ascend-910c", DOUBLE, "needs-you", "not mul"),
        ("cambricon-mlu590", DOUBLE, "needs-you", "no source says"),
        ("nvidia-h200", DOUBLE, None, ""),
        ("ascend-910c", FLOAT8, "refused-by-chip", "refuses"),
        ("ascend-950dt", FLOAT8, None, ""),
        ("enflame-s60", FLOAT8, "needs-you", "no source says"),
        ("ascend-910c", FFT, None, ""),
        ("enflame-s60", FFT, "needs-you", "not known"),
        ("moore-threads-s5000", COMPILE, "safe", "Inductor runs"),
        ("cambricon-mlu590", COMPILE, "needs-you", "not known whether Inductor"),
        ("kunlun-p800", MONITOR, "needs-you", "xpu-smi"),
        ("enflame-s60", MONITOR, "needs-you", "ask torch.accelerator"),
        ("nvidia-h200", MONITOR, "safe", "NVIDIA"),
        ("ascend-910c", TF32, "safe", "torch.npu.matmul.allow_hf32"),
        ("moore-threads-s4000", TF32, "safe", "torch.backends.mudnn.allow_tf32"),
        ("biren-br166", TF32, "safe", "its own setting"),
        ("nvidia-h20", FLASH, "safe", "made for this chip"),
        ("nvidia-h20", BNB, "safe", "made for this chip"),
        ("nvidia-h20", COMPILED, "safe", "made for this chip"),
        ("nvidia-h20", TENSORRT, "safe", "made for this chip"),
        ("kunlun-p800", FLASH, "needs-you", "no source says that"),
        ("kunlun-p800", BNB, "needs-you", "no source says that"),
        ("kunlun-p800", COMPILED, "needs-you", "build it for the chip"),
        ("kunlun-p800", COMPILE, "needs-you", "not known whether Inductor"),
        ("kunlun-p800", TENSORRT, "needs-you", "for CUDA only"),
        ("kunlun-p800", FFT, "needs-you", "not known whether"),
        ("kunlun-p800", AVAILABLE, "safe", "device is 'cuda'"),
        ("kunlun-p800", CAPABILITY, "needs-you", "NVIDIA's generations"),
        ("kunlun-p800", PROCESSORS, "needs-you", "NVIDIA's generations"),
        ("metax-c500", FLASH, "needs-you", "no source says that"),
        ("hygon-bw1000", TRITON, "needs-you", "no source says that"),
        ("t-head-zhenwu-810e", TRITON, "needs-you", "no source says that"),
        ("amd-mi300x", FLASH, "safe", "flash_attn"),
        ("amd-mi300x", TRITON, "safe", "triton"),
        ("amd-mi300x", BNB, "needs-you", "no source says that"),
        ("amd-mi300x", COMPILE, "safe", "Triton for ROCm"),
    ],
)
def test_verdict(chip, code, expected, why):
    found = ported(code, chip=chip).occurrences
    assert [o.verdict for o in found] == ([expected] if expected else [])
    assert all(why in o.reason for o in found)


@pytest.mark.parametrize(
    ("chip", "expected"),
    [("nvidia-h20", "safe"), ("amd-mi300x", "safe"), ("kunlun-p800", "needs-you"), ("ascend-910c", "needs-you")],
)
def test_a_triton_kernel(chip, expected):
    assert {o.verdict for o in ported(KERNEL, chip=chip).occurrences} == {expected}
