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
    ],
)
def test_verdict(chip, code, expected, why):
    found = ported(code, chip=chip).occurrences
    assert [o.verdict for o in found] == ([expected] if expected else [])
    assert all(why in o.reason for o in found)
